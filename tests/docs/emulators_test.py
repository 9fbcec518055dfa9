# SPDX-License-Identifier: BSD-3-Clause
# emulators_test.py - docs/emulators.md says what the matrix of the system tests does.
#
#   emulators_test.py SOURCE_ROOT          prints TAP
import pathlib
import re
import sys


def table(text, first):
    """The rows of the table whose head starts with that cell, without the head."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in text.splitlines() if line.startswith("|")]
    start = next(n for n, row in enumerate(rows) if row[0] == first)
    names = rows[start]
    found = {}
    for row in rows[start + 2:]:
        if len(row) != len(names) or row[0] in ("emulator", "mode"):
            break
        found[row[0]] = row[1:]
    return names[1:], found


def cases(root):
    sys.path.insert(0, str(root / "tests/system"))
    import matrix
    text = (root / "docs/emulators.md").read_text()
    modes, rows = table(text, "emulator")
    yield "the modes", modes == [f"`{m}`" for m in matrix.MODES]
    yield "the emulators", list(rows) == [row.name for row in matrix.ROWS]
    # Long command lines are broken in the document.
    flat = re.sub(r"\s+", " ", text)
    for row in matrix.ROWS:
        yield f"{row.name}: what was seen", rows.get(row.name) == [row.seen] * len(matrix.MODES)
        yield f"{row.name}: its command line", row.command in flat
        if row.door:
            yield f"{row.name}: its door", f"--door={row.door} --uplink=LOCATOR" in flat
    _, locators = table(text, "mode")
    for mode, locator in matrix.MODES.items():
        yield f"{mode}: its locator", locators.get(f"`{mode}`", [""])[0] == f"`{locator}`"


def main():
    results = list(cases(pathlib.Path(sys.argv[1])))
    print(f"1..{len(results)}")
    for number, (name, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {name}")


if __name__ == "__main__":
    main()
