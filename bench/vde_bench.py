# SPDX-License-Identifier: BSD-3-Clause
"""vde_bench.py - ringplug's VDE door beside vde_switch: two libvdeplug clients, one sends.

The switches take turns on core 0, both clients run on core 1 and sleep when they have nothing to
do. Each sample starts its switch anew; samples of one run are neighbours in time. With --stuck: the
door beside itself, with three more clients that never take a frame and without; one frame in 64 is
for everybody.
"""

import argparse
import os
import signal
import statistics
import sys

import vhost_bench
from vhost_bench import BUILD, BackEnd, BenchError, counted, interrupted, measure, text


class _Clients:
    """What both back ends have: where they listen, and who comes in."""

    def sockets(self):
        return [self.directory / "switch" / "ctl"]

    def generator(self):
        return [BUILD / "bench" / "vde_gen", "--url", self.directory / "switch",
                *self.cell.generator]


class Door(_Clients, BackEnd):
    name = "ringplug"

    def command(self):
        return [BUILD / "tools" / "ringplug", "switch", f"bench-{os.getpid()}",
                f"--door=vde:{self.directory / 'switch'}"]


class VdeSwitch(_Clients, vhost_bench.VdeSwitch):
    pass


class Broadcasts:
    """One frame in 64 is for everybody."""

    def generator(self):
        return [*super().generator(), "--broadcasts"]


class Stuck(Broadcasts):
    """So it is, and three more clients never take a frame."""

    def generator(self):
        return [*super().generator(), "--stuck", 3]


class DoorAlone(Broadcasts, Door):
    name = "door alone"


class BesideStuck(Stuck, Door):
    name = "beside stuck clients"


class Cell:
    """One line: what the clients do, what is read off, and how long a switch of ours polls."""

    def __init__(self, name, generator, figures, poll_us=None):
        self.name, self.generator, self._figures = name, generator, figures
        self.poll_us = poll_us

    def figures(self, sample):
        """{(what, unit): value}, the switch's CPU time per frame last."""
        frames = sample.get("tx", sample.get("frames"))
        known = {("frames/s", "k"): lambda: sample["rx_per_s"] / 1000,
                 ("lost", "%"): lambda: 100 * sample["lost"] / frames,
                 ("p50", "us"): lambda: sample["p50_us"],
                 ("p99", "us"): lambda: sample["p99_us"]}
        found = {key: get() for key, get in known.items() if key[0] in self._figures}
        found["CPU a frame", "us"] = sample["cpu_s"] / frames * 1e6
        return found


CELLS = [
    Cell("as many as go, 60 B", ["--flood", "--size", 60], ("frames/s", "lost")),
    Cell("as many as go, 1500 B", ["--flood", "--size", 1500], ("frames/s", "lost")),
    Cell("100,000/s, 60 B", ["--flood", "--rate", 100000, "--size", 60], ("lost",)),
    Cell("100,000/s, 1500 B", ["--flood", "--rate", 100000, "--size", 1500], ("lost",)),
    Cell("one at a time, 60 B", ["--interval-us", 50, "--size", 60], ("p50", "p99")),
]


def row(*columns):
    print("{:<35} {:>4} {:>24} {:>24} {:>11}".format(*columns), flush=True)


def report(samples, cells, ours, theirs):
    row("frames", "", ours.name, theirs.name, "ours:theirs")
    for cell in cells:
        mine, other = ({n: cell.figures(s) for n, s in counted(samples[cell, kind]).items()}
                       for kind in (ours, theirs))
        for key in next(iter(mine.values()), {}):
            pairs = [(mine[n][key], other[n][key]) for n in mine if n in other]
            ratios = [a / b for a, b in pairs if b > 0]
            row(f"{cell.name}: {key[0]}", key[1], text(f[key] for f in mine.values()),
                text(f[key] for f in other.values()),
                f"{statistics.median(ratios):.2f}" if ratios else "-")
    every = [s for got in samples.values() for s in got.values()]
    disturbed = sum(s["disturbed"] for s in every)
    if disturbed:
        print(f"{disturbed} of {len(every)} samples were disturbed by other work; they count where "
              "nothing else is")


def parser_of(doc):
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="measured time of a sample")
    parser.add_argument("--patience", type=float, default=60,
                        help="how long to wait for a quiet machine before each sample")
    parser.add_argument("--quick", action="store_true", help="one run of 1 s, little waiting")
    return parser


def compare(arguments, cells, ours, theirs):
    """Measures two kinds of back end in turns and prints a table; returns the exit status."""
    if arguments.quick:
        arguments.runs, arguments.seconds, arguments.patience = 1, 1, 2
    signal.signal(signal.SIGTERM, interrupted)
    if len(os.sched_getaffinity(0)) < 2:
        print("this takes two cores", file=sys.stderr)
        return 1
    samples = {(c, kind): {} for c in cells for kind in (ours, theirs)}
    try:
        for number in range(arguments.runs):
            for cell in cells:
                # Whoever goes first in one run goes last in the next.
                for kind in (ours, theirs)[::1 if number % 2 == 0 else -1]:
                    got = measure(cell, kind, False, arguments.seconds, arguments.patience)
                    samples[cell, kind][number] = got
                    figures = ", ".join(f"{w} {v:.2f} {u}" for (w, u), v in
                                        cell.figures(got).items())
                    print(f"  run {number + 1}/{arguments.runs} {cell.name}, {kind.name}: {figures}"
                          + " (disturbed)" * got["disturbed"], file=sys.stderr, flush=True)
    except BenchError as err:
        print(f"{os.path.basename(sys.argv[0])}: {err}", file=sys.stderr)
        return 1
    finally:
        # What was measured is worth showing when the rest was given up.
        report(samples, cells, ours, theirs)
    return 0


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--stuck", action="store_true", help="beside clients that take nothing")
    arguments = parser.parse_args()
    if arguments.stuck:
        return compare(arguments, CELLS[:2], BesideStuck, DoorAlone)
    return compare(arguments, CELLS, Door, VdeSwitch)


if __name__ == "__main__":
    sys.exit(main())
