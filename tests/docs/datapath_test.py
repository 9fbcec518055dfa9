# SPDX-License-Identifier: BSD-3-Clause
# datapath_test.py - docs/datapath.md names functions that exist; docs/architecture.md stays short.
#
#   datapath_test.py SOURCE_ROOT          prints TAP
import pathlib
import re
import sys

MAX_LINES = 150


def cases(root):
    text = (root / "docs/datapath.md").read_text()
    file = None
    for hop in re.findall(r"`([\w/.:]+)`", text):
        # "file:function", or "Class::function" of the file named before it.
        if "/" in hop:
            file, function = hop.split(":", 1)
        elif "::" in hop and file:
            function = hop
        else:
            continue
        # A definition starts at a line's beginning, or inside its class or namespace.
        name = re.escape(function)
        pattern = rf"^[\w\s*&<>:,]*\b{name}\("
        # A member named without its class's file stands in the file that defines the class.
        home = file if "/" in hop else home_of(root, function, file)
        source = root / home
        found = source.is_file() and re.search(pattern, source.read_text(), re.MULTILINE)
        yield f"{home}:{function}", bool(found)
    lines = len((root / "docs/architecture.md").read_text().splitlines())
    yield f"docs/architecture.md has {lines} lines, at most {MAX_LINES}", lines <= MAX_LINES


def home_of(root, function, file):
    """A class's members may be named after a hop in another file: find the one that has them."""
    for source in [root / file, *sorted(root.glob("*/*.cc"))]:
        if source.is_file() and re.search(rf"\b{re.escape(function)}\(", source.read_text()):
            return str(source.relative_to(root))
    return file


def main():
    results = list(cases(pathlib.Path(sys.argv[1])))
    print(f"1..{len(results)}")
    for number, (name, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {name}")


if __name__ == "__main__":
    main()
