# SPDX-License-Identifier: BSD-3-Clause
"""cli.py - runs the `ringplug` command for tests that speak TAP; the command is the first argument."""
import os
import signal
import subprocess
import sys

RINGPLUG = os.path.abspath(sys.argv[1])
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def run(*arguments, **environment):
    env = {k: v for k, v in os.environ.items() if k != "VDEPLUGIN_PATH"}
    env.update(environment)
    return subprocess.run([RINGPLUG, *arguments], env=env, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True)


def accepted(*arguments, **environment):
    r = run(*arguments, **environment)
    assert r.returncode == 0 and r.stderr == "", (r.returncode, r.stderr)
    return r.stdout


def refused(code, words, *arguments, **environment):
    r = run(*arguments, **environment)
    assert r.returncode == code, (r.returncode, r.stderr)
    assert r.stdout == "", r.stdout
    for word in words:
        assert word in r.stderr, f"{word!r} is not in {r.stderr!r}"
    assert r.stderr.startswith("ringplug"), r.stderr
    assert r.stderr.count("\n") == 1, r.stderr


def main():
    # Whoever runs us in the background may ignore them; what we start is to be ended by them.
    for s in signal.SIGHUP, signal.SIGINT:
        if signal.getsignal(s) == signal.SIG_IGN:
            signal.signal(s, signal.SIG_DFL)
    print(f"1..{len(TESTS)}")
    for number, function in enumerate(TESTS, 1):
        try:
            # A test that can't run says "SKIP" and why.
            skipped = function()
            print(f"ok {number} - {function.__name__}" + (f" # {skipped}" if skipped else ""))
        except Exception as error:  # pylint: disable=broad-except
            print(f"not ok {number} - {function.__name__}")
            print(f"# {type(error).__name__}: {error}".replace("\n", "\n# "))
        sys.stdout.flush()
