# SPDX-License-Identifier: BSD-3-Clause
"""bench_netns.py - TCP of a network namespace through user-mode NAT to its host: ringplug's netns
door with slirp, slirp4netns, and pasta.

All run at the same time in namespaces of one private network and take turns, so that whatever else
the machine does meets them alike. iperf3 is at both ends.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import netns
import qemu
import sandbox

RINGPLUG = qemu.BUILD / "tools" / "ringplug"
WAYS = {"up": (), "down": ("-R",)}
TICKS = os.sysconf("SC_CLK_TCK")


class Backend:
    """A namespace and the process that connects it to this one's loopback as `gateway`."""

    gateway = "10.0.2.2"

    def __init__(self, mtu):
        self.space = netns.Netns()
        self.process = subprocess.Popen(
            qemu.tied(self.command(mtu)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        for _ in range(100):
            if self.process.poll() is not None:
                raise qemu.QemuError(self.process.stderr.read())
            if "default" in self.space.run("ip", "route").stdout:
                break
            time.sleep(0.1)
        else:
            raise qemu.QemuError(f"{self.name}: no route after 10 s")
        self.settle()

    def settle(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        qemu.stop(self.process)
        self.process.stderr.close()
        self.space.close()

    def cpu(self):
        """Seconds that the process has used."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def run(self, way, streams, seconds):
        """(Gbit/s, CPU seconds per GB)"""
        server = subprocess.Popen(qemu.tied(["iperf3", "-s", "-1", "-B", "127.0.0.1"]),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if netns.has_listener(5201):
                    break
                time.sleep(0.02)
            before = self.cpu()
            done = self.space.run("iperf3", "-c", self.gateway, "-t", str(seconds), "-J", "-P",
                                  str(streams), *WAYS[way], check=False)
            used = self.cpu() - before
            result = json.loads(done.stdout)
            if "error" in result:
                raise qemu.QemuError(f"{self.name}: {result['error']}")
            got = result["end"]["sum_received"]
            return got["bits_per_second"] / 1e9, used / max(got["bytes"] / 1e9, 1e-3)
        finally:
            qemu.stop(server)


class Ringplug(Backend):
    name = "ringplug"
    options = ""

    def command(self, mtu):
        return [str(RINGPLUG), "switch", "bench-netns", "--uplink",
                f"slirp?mtu={mtu}", "--door", f"netns:{self.space.pid}?mtu={mtu}{self.options}"]


class Slirp4netns(Backend):
    name = "slirp4netns"

    def command(self, mtu):
        return ["slirp4netns", "--configure", f"--mtu={mtu}", str(self.space.pid), "tap0"]


class Pasta(Backend):
    """Its client's send buffer is kept small: it stalls for lost segments otherwise."""

    name = "pasta"
    gateway = "192.0.2.254"

    def command(self, mtu):
        # It gives up the right to look into /proc before it opens the namespace.
        self._mount = tempfile.NamedTemporaryFile(prefix="ringplug-netns-")
        subprocess.run(["mount", "--bind", f"/proc/{self.space.pid}/ns/net", self._mount.name],
                       check=True)
        return ["pasta", "--foreground", "--quiet", "--runas", "0", "--config-net", "--mtu", str(mtu),
                "--netns-only", "--netns", self._mount.name]

    def __exit__(self, *what):
        super().__exit__(*what)
        subprocess.run(["umount", self._mount.name], check=True)
        self._mount.close()

    def settle(self):
        self.space.run("sysctl", "-qw", "net.ipv4.tcp_wmem=4096 16384 262144")


def outside():
    """An interface with a default route, which pasta wants to see."""
    sandbox.ip("link", "add", "out0", "type", "veth", "peer", "out1")
    for device in "out0", "out1":
        sandbox.ip("link", "set", device, "up")
    sandbox.ip("addr", "add", "192.0.2.1/24", "dev", "out0")
    sandbox.ip("route", "add", "default", "via", "192.0.2.254")


def measure(kinds, mtu, streams, runs, seconds):
    figures = {}
    with contextlib.ExitStack() as stack:
        backends = [stack.enter_context(k(mtu)) for k in kinds]
        for number in range(-1, runs):
            # Whoever goes first in one turn goes last in the next.
            for b in sorted(backends, key=lambda b: b.name, reverse=number % 2 == 0):
                for way in WAYS:
                    for n in streams:
                        # The first turn is not counted.
                        got = b.run(way, n, seconds if number >= 0 else 1)
                        if number >= 0:
                            figures.setdefault((way, n, b.name), []).append(got)
                            print(f"  run {number + 1}/{runs} {b.name} {way} x{n}: {got[0]:.2f} "
                                  f"Gbit/s, {got[1]:.2f} CPU s/GB", file=sys.stderr, flush=True)
    return figures


def report(kinds, figures, streams):
    names = [k.name for k in kinds]
    print(f"{'':<10}" + "".join(f"{n + ': Gbit/s (CPU s/GB)':>36}" for n in names) + "   ratio")
    for way in WAYS:
        for n in streams:
            cells, medians = "", {}
            for name in names:
                rates = [r for r, _ in figures[way, n, name]]
                medians[name] = statistics.median(rates)
                cost = statistics.median(c for _, c in figures[way, n, name])
                text = f"{medians[name]:.2f} ({min(rates):.2f}..{max(rates):.2f}) ({cost:.2f})"
                cells += f"{text:>36}"
            ratio = medians["ringplug"] / medians["slirp4netns"] if "slirp4netns" in medians else 0
            print(f"{way:<5} x{n:<3}{cells}  {ratio:6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--mtu", type=int, default=65520)
    parser.add_argument("--streams", default="1,8")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    kinds = [k for k in (Ringplug, Slirp4netns, Pasta)
             if k is Ringplug or shutil.which(k.name)]
    why = sandbox.enter()
    if why or os.geteuid() != 0:
        print(f"takes root and namespaces: {why}", file=sys.stderr)
        return 1
    outside()
    streams = [int(n) for n in arguments.streams.split(",")]
    print(f"MTU {arguments.mtu}, {arguments.runs} runs of {arguments.seconds} s in turns; medians "
          "(least..most); ratio to slirp4netns")
    try:
        report(kinds, measure(kinds, arguments.mtu, streams, arguments.runs, arguments.seconds),
               streams)
    except (qemu.QemuError, OSError) as err:
        print(f"failed: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
