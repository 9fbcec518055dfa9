# SPDX-License-Identifier: BSD-3-Clause
"""vhost_bench.py - ringplug's vhost-user switch beside dpdk-testpmd and vde_switch.

Back ends take turns on core 0, the generators run on core 1. Each sample starts its back end anew,
waits for a quiet machine, and is repeated when something else took a core away from it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = (ROOT / os.environ.get("RINGPLUG_BUILD", "build-bench")).resolve()
BACK_END_CORE, GENERATOR_CORE = 0, 1
HUGE_PAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
HUGE_PAGES_WANTED = 512
POLL_FOREVER_US = 10_000_000
# A sample counts when both sides stood ready without a core for less than this share of it.
DISTURBED = 0.02
SLEEPING_INTERVAL_US = 100


class BenchError(Exception):
    """A measurement went wrong; the text says how."""


class Unavailable(BenchError):
    """A back end can't be measured here; the text says why."""


def tied(core, command):
    """The command on one core, as a child that dies with this process, whatever ends it."""
    return ["taskset", "-c", str(core), "setpriv", "--pdeathsig", "KILL", "--",
            *map(str, command)]


def stop(process, patience=5):
    """Ends our own child and reaps it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def huge_pages():
    """Reserves huge pages for the generator and testpmd; yields whether there are enough."""
    before = int(HUGE_PAGES.read_text())
    reserved = False
    try:
        if before < HUGE_PAGES_WANTED:
            with contextlib.suppress(OSError):
                HUGE_PAGES.write_text(str(HUGE_PAGES_WANTED))
                reserved = True
        yield int(HUGE_PAGES.read_text()) >= HUGE_PAGES_WANTED
    finally:
        if reserved:
            HUGE_PAGES.write_text(str(before))


class BackEnd:
    """One back end on its core, with its sockets in a directory of its own."""

    def __init__(self, cell, huge):
        self.cell, self.huge = cell, huge
        self.process = None
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.directory = pathlib.Path(self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ringplug-bench-")))
            self._run()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _run(self):
        output = self.directory / "output"
        # The pipe stays open and empty: testpmd ends at its end, vde_switch spins there.
        with open(output, "wb") as f:
            self.process = subprocess.Popen(tied(BACK_END_CORE, self.command()),
                                            stdin=subprocess.PIPE, stdout=f, stderr=f)
        self._stack.callback(self.process.stdin.close)
        self._stack.callback(stop, self.process)
        deadline = time.monotonic() + 20
        while not self.ready(output):
            if self.process.poll() is not None:
                raise Unavailable(self._why(output, "ended"))
            if time.monotonic() > deadline:
                raise Unavailable(self._why(output, "is not ready after 20 s"))
            time.sleep(0.02)

    def _why(self, output, what):
        said = output.read_text(errors="replace").strip().splitlines()
        return f"{self.name} {what}" + (f": {said[-1]}" if said else "")

    def sockets(self):
        return [self.directory / "vhost0", self.directory / "vhost1"]

    def ready(self, output):
        """Whether all sockets listen."""
        listening = set()
        for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if len(fields) == 8 and int(fields[3], 16) & 0x10000:
                listening.add(fields[7])
        return all(str(s) in listening for s in self.sockets())

    def generator(self):
        path0, path1 = self.sockets()
        command = [BUILD / "bench" / "virtio_user_gen", "--path0", path0, "--path1", path1,
                   "--core", GENERATOR_CORE, *self.cell.generator]
        return command + ([] if self.huge else ["--no-huge"])


def polling(cell):
    """What tells a switch of ours how long to poll rings before it sleeps, where a cell says it."""
    return [] if cell.poll_us is None else ["--poll-us", cell.poll_us]


class Ringplug(BackEnd):
    name = "ringplug"

    def command(self):
        doors = [f"--door=vhost-user:{s}" for s in self.sockets()]
        return [BUILD / "tools" / "ringplug", "switch", f"bench-{os.getpid()}", *doors,
                *polling(self.cell)]

    def ready(self, output):
        return "ready" in output.read_text(errors="replace").split() and super().ready(output)


class Testpmd(BackEnd):
    name = "testpmd"

    def command(self):
        if not shutil.which("dpdk-testpmd"):
            raise Unavailable("dpdk-testpmd is not installed (scripts/deps bench)")
        # With legacy flags io forwarding keeps what a frame says about its segments.
        gso = ",tso=1,legacy-ol-flags=1" if self.cell.unit == "GB/s" else ""
        vdevs = [f"--vdev=net_vhost{i},iface={s}{gso}" for i, s in enumerate(self.sockets())]
        memory = ["--in-memory"] if self.huge else ["--no-huge", "--no-shconf", "-m", "512"]
        # The main thread only sleeps, so that it may share the forwarder's core.
        return ["dpdk-testpmd", f"--lcores=0@{BACK_END_CORE},1@{BACK_END_CORE}", *memory,
                "--no-pci", "--no-telemetry", *vdevs, "--",
                "--forward-mode=io", "--nb-cores=1", "--disable-link-check",
                "--total-num-mbufs=16384"]


class VdeSwitch(BackEnd):
    name = "vde_switch"

    def command(self):
        if not shutil.which("vde_switch"):
            raise Unavailable("vde_switch is not installed (scripts/deps)")
        return ["vde_switch", "--sock", self.directory / "switch"]

    def sockets(self):
        return [self.directory / "switch" / "ctl"]

    def generator(self):
        return [BUILD / "bench" / "vde_gen", "--url", self.directory / "switch",
                "--interval-us", SLEEPING_INTERVAL_US]


class Cell:
    """One line of the matrix: what is measured, and beside whom."""

    def __init__(self, name, unit, generator, peer=Testpmd, poll_us=None):
        self.name, self.unit, self.generator = name, unit, generator
        self.peer, self.poll_us = peer, poll_us

    def figures(self, sample):
        """[(what, value)] of one sample."""
        if self.unit == "us":
            return [("p50", sample["p50_us"]), ("p99", sample["p99_us"])]
        if self.unit == "GB/s":
            return [("", sample["gbyte_per_s"])]
        return [("", sample["rx_per_s"] / 1e6)]

    def cost(self, sample):
        """CPU seconds of the back end per million frames."""
        return sample["cpu_s"] / sample["rx" if "rx" in sample else "frames"] * 1e6


def matrix(gso):
    cells = []
    rings = (("split", []), ("packed", ["--packed"]))
    for ring, extra in rings:
        cells += [Cell(f"{ring}, {size} B", "Mfps", ["--size", size, *extra])
                  for size in (64, 1514)]
    if gso:
        cells += [Cell(f"{ring}, 64 KiB GSO", "GB/s", ["--gso", *extra]) for ring, extra in rings]
    cells += [Cell(f"{ring}, one frame, polling", "us", ["--latency", *extra],
                   poll_us=POLL_FOREVER_US) for ring, extra in rings]
    cells += [Cell(f"{ring}, one frame, sleeping", "us",
                   ["--latency", "--interval-us", SLEEPING_INTERVAL_US, *extra],
                   peer=VdeSwitch, poll_us=0) for ring, extra in rings]
    return cells


def busy_ticks():
    """Time that all cores spent on something, in clock ticks."""
    times = [int(t) for t in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(times) - times[3] - times[4]


def wait_for_quiet(patience=60):
    """Waits until the machine does next to nothing else."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = busy_ticks()
        time.sleep(0.25)
        if (busy_ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.25 * 0.1:
            return True
    return False


def generate(back_end, seconds):
    """One run of the generator; returns what it measured."""
    command = [*back_end.generator(), "--seconds", seconds, "--cpu-of", back_end.process.pid]
    with subprocess.Popen(tied(GENERATOR_CORE, command), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=seconds + 30)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the generator hangs on {back_end.name}") from None
        finally:
            stop(process)
    if process.returncode != 0:
        said = err.strip().splitlines() or [f"it ended with {process.returncode}"]
        raise BenchError(f"{back_end.name}: {said[-1]}")
    sample = json.loads(out)
    if sample["errors"]:
        raise BenchError(f"{back_end.name}: {sample['errors']} frames came damaged")
    return sample


def measure(cell, kind, huge, seconds, patience, tries=4):
    """One sample that nothing disturbed, or the least disturbed one of a few."""
    samples = []
    for _ in range(tries):
        wait_for_quiet(patience)
        with kind(cell, huge) as back_end:
            samples.append(generate(back_end, seconds))
        if samples[-1]["delayed_s"] < DISTURBED * seconds:
            break
    best = min(samples, key=lambda s: s["delayed_s"])
    best["disturbed"] = best["delayed_s"] >= DISTURBED * seconds
    return best


def text(values):
    values = list(values)
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def row(*columns):
    print("{:<31} {:>4} {:>21} {:>9} {:>21} {:>9} {:>10} {:>9}".format(*columns), flush=True)


def counted(samples):
    """The samples that nothing disturbed, or all when there is none; {run: sample}."""
    return {n: s for n, s in samples.items() if not s["disturbed"]} or samples


def report(cells, samples, failures):
    row("rings, frame", "", "ringplug", "CPU s/M", "peer", "CPU s/M", "", "ours:peer")
    for cell in cells:
        pair = [counted(samples[cell, kind]) for kind in (Ringplug, cell.peer)]
        costs = [f"{statistics.median(cell.cost(s) for s in got.values()):.3f}" if got else "-"
                 for got in pair]
        known = [s for got in pair for s in got.values()]
        for i, what in enumerate([w for w, _ in cell.figures(known[0])] if known else [""]):
            ours, theirs = ({n: cell.figures(s)[i][1] for n, s in got.items()} for got in pair)
            # Of neighbours in time: the machine's own speed drifts more than what is compared.
            ratios = [ours[n] / theirs[n] for n in ours if n in theirs]
            row(f"{cell.name} {what}", cell.unit, text(ours.values()), costs[0] if i == 0 else "",
                text(theirs.values()), costs[1] if i == 0 else "", cell.peer.name,
                f"{statistics.median(ratios):.2f}" if ratios else "-")
    every = [s for got in samples.values() for s in got.values()]
    copies = [s["memcpy_gbyte_per_s"] for s in every if "memcpy_gbyte_per_s" in s]
    if copies:
        print(f"memcpy alone, 64 KiB blocks: {text(copies)} GB/s")
    limits = sorted({cell.name for (cell, _), got in samples.items()
                     if got and statistics.median(s.get("busy", 0) for s in got.values()) > 0.95})
    if limits:
        print("the generator itself may be the limit: " + "; ".join(limits))
    disturbed = sum(s["disturbed"] for s in every)
    if disturbed:
        print(f"{disturbed} samples were disturbed by other work; they count where nothing else is")
    for why in dict.fromkeys(map(str, failures.values())):
        print(f"not measured: {why}")


def run(arguments, huge):
    cells = matrix(not arguments.no_gso)
    if arguments.only:
        cells = [c for c in cells if any(o in c.name for o in arguments.only.split(";"))]
    samples = {(c, kind): {} for c in cells for kind in (Ringplug, c.peer)}
    failures = {}
    try:
        for number in range(arguments.runs):
            for cell in cells:
                # Whoever goes first in one turn goes last in the next.
                for kind in (Ringplug, cell.peer)[::1 if number % 2 == 0 else -1]:
                    if (cell, kind) in failures:
                        continue
                    try:
                        got = measure(cell, kind, huge, arguments.seconds, arguments.patience)
                    except BenchError as err:
                        failures[cell, kind] = err
                        print(f"  run {number + 1}/{arguments.runs} {cell.name}: {err}",
                              file=sys.stderr, flush=True)
                        continue
                    samples[cell, kind][number] = got
                    figures = ", ".join(f"{w} {v:.2f}".strip() for w, v in cell.figures(got))
                    print(f"  run {number + 1}/{arguments.runs} {cell.name} {kind.name}: "
                          f"{figures} {cell.unit}" + (" (disturbed)" * got["disturbed"]),
                          file=sys.stderr, flush=True)
    finally:
        # What was measured is worth showing when the rest was given up.
        report(cells, samples, failures)
    return 0 if all(isinstance(err, Unavailable) for err in failures.values()) else 1


def interrupted(signum, _frame):
    raise KeyboardInterrupt(f"signal {signum}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="measured time of a sample")
    parser.add_argument("--patience", type=float, default=60,
                        help="how long to wait for a quiet machine before each sample")
    parser.add_argument("--quick", action="store_true", help="one run of 1 s, little waiting")
    parser.add_argument("--no-gso", action="store_true", help="leave out the 64 KiB frames")
    parser.add_argument("--only", help="parts of the names of lines, separated by ';'")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs, arguments.seconds, arguments.patience = 1, 1, 2
    signal.signal(signal.SIGTERM, interrupted)
    if not (BUILD / "bench" / "virtio_user_gen").exists():
        print(f"{BUILD}/bench/virtio_user_gen is not built: it needs libdpdk (scripts/deps bench)",
              file=sys.stderr)
        return 1
    if len(os.sched_getaffinity(0)) < 2:
        print("this takes two cores", file=sys.stderr)
        return 1
    try:
        with huge_pages() as huge:
            if not huge:
                print("no huge pages here (root may reserve them): measuring without",
                      file=sys.stderr)
            print(f"vhost-user, two ports, one way, {arguments.runs} runs of {arguments.seconds} s "
                  "in turns: median (min..max); CPU s/M: the back end's, for a million frames")
            return run(arguments, huge)
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
