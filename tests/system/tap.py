# SPDX-License-Identifier: BSD-3-Clause
"""tap.py - runs unittest classes and prints one TAP line for each case."""

import os
import signal
import sys
import traceback
import unittest


def note(text):
    """Prints a TAP diagnostic."""
    for line in str(text).rstrip("\n").splitlines():
        print("#", line)
    sys.stdout.flush()


class _Result(unittest.TestResult):
    """Keeps the verdict of the one test that is running."""

    def __init__(self):
        super().__init__()
        self.failed = None
        self.skipped_because = None

    def addError(self, test, err):
        self.failed = self.failed or err

    addFailure = addError

    def addSkip(self, test, reason):
        self.skipped_because = reason

    def addSubTest(self, test, subtest, err):
        if err and not self.failed:
            note(f"in {subtest}")
            self.failed = err

    def addExpectedFailure(self, test, err):
        pass

    def addUnexpectedSuccess(self, test):
        self.failed = (AssertionError, AssertionError("passed, but was expected to fail"), None)


class Runner:
    """Counts and prints cases; a class that can't be set up fails or skips each of its own."""

    def __init__(self):
        self.count = 0
        self.failures = 0

    def _line(self, ok, name, skip=None):
        self.count += 1
        self.failures += not ok
        # '#' would start a directive.
        text = f"{'ok' if ok else 'not ok'} {self.count} - {name.replace('#', 'no. ')}"
        print(text + (f" # SKIP {skip}" if skip is not None else ""), flush=True)

    def _fail(self, case, name, err):
        self._line(False, name)
        trace = traceback.TracebackException(*err)
        trace.stack[:] = [f for f in trace.stack if "/unittest/" not in f.filename]
        note("".join(trace.format()))
        try:
            note(case.diagnostics())
        except AttributeError:
            pass  # has none, or was not set up far enough

    def run_class(self, cls, names):
        title = {n: f"{cls.__name__}: {getattr(cls, n).__doc__ or n}".split("\n")[0] for n in names}
        verdict = None
        try:
            if getattr(cls, "__unittest_skip__", False):
                raise unittest.SkipTest(cls.__unittest_skip_why__)
            cls.setUpClass()
        except unittest.SkipTest as skip:
            why = str(skip)
            verdict = lambda n: self._line(True, title[n], why)
        except Exception:
            err = sys.exc_info()
            note(f"{cls.__name__} could not be set up")
            verdict = lambda n: self._fail(cls, title[n], err)
        try:
            for n in names:
                verdict(n) if verdict else self._run_case(cls(n), title[n])
        finally:
            # Here and not in unittest's suite, so that an interrupt cleans up too. Classes use
            # addClassCleanup, not tearDownClass: it also runs when setUpClass failed half way.
            cls.doClassCleanups()
        for err in cls.tearDown_exceptions:
            self._fail(cls, f"{cls.__name__}: clean-up", err)

    def _run_case(self, case, title):
        result = _Result()
        case.run(result)
        if result.failed:
            self._fail(case, title, result.failed)
        else:
            self._line(True, title, result.skipped_because)


def _interrupt(signum, _frame):
    raise KeyboardInterrupt(f"signal {signum}")


def _cases(module, patterns):
    """Yields (class, names of its tests); a class named _... is only a base."""
    classes = [c for c in vars(module).values()
               if isinstance(c, type) and issubclass(c, unittest.TestCase)
               and c.__module__ == module.__name__]
    for cls in classes:
        names = [n for n in dir(cls) if n.startswith("test_")
                 and (not patterns or any(p in f"{cls.__name__}.{n}" for p in patterns))]
        order = list(dict.fromkeys(n for base in reversed(cls.__mro__) for n in vars(base)))
        # In the order of the file, base classes first; what ends the guest comes last.
        names.sort(key=lambda n: (n.startswith("test_zz_"), order.index(n)))
        if names and not cls.__name__.startswith("_"):
            yield cls, names


def main(setup=None):
    """Runs the calling script's test classes; arguments are parts of Class.test names."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    print("TAP version 13", flush=True)
    runner = Runner()
    cases = list(_cases(sys.modules["__main__"], sys.argv[1:]))
    try:
        if setup:
            setup()
        for cls, names in cases:
            runner.run_class(cls, names)
    except unittest.SkipTest as skip:
        print(f"1..0 # SKIP {skip}")
        sys.exit(0)
    except KeyboardInterrupt as why:
        print(f"Bail out! interrupted {why}")
        sys.exit(1)
    except Exception:
        note(traceback.format_exc())
        print("Bail out! the rig could not be set up")
        sys.exit(1)
    print(f"1..{runner.count}", flush=True)
    sys.exit(1 if runner.failures else 0)
