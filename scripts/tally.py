# SPDX-License-Identifier: BSD-3-Clause
# tally.py - adds up the test cases of several JUnit files and prints the closing line.
#
#   tally.py STATUS FILE...     STATUS: 0 when every run of the test runner succeeded
import sys
import xml.etree.ElementTree as xml


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def main():
    status, files = int(sys.argv[1]), sys.argv[2:]
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for name in files:
        try:
            cases = list(xml.parse(name).getroot().iter("testcase"))
        except (OSError, xml.ParseError) as error:
            print(f"{name}: no results: {error}")
            status = 1
            continue
        for case in cases:
            result = outcome(case)
            count[result] += 1
            if result != "passed":
                print(f"{result}: {case.get('classname')}.{case.get('name')}")
    # A test program that crashes or times out leaves no failed case behind.
    if status != 0 and count["failed"] == 0:
        count["failed"] = 1
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
