# SPDX-License-Identifier: BSD-3-Clause
"""bench_tap.py - two hosts with a switch between them: ringplug over tap devices, with offloads and
without, and over veth pairs, beside the kernel's bridge over veth pairs.

All run at the same time and take turns, so that whatever else the machine does meets them alike.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys

import netns
import qemu
import sandbox
from test_tap import Switch, until

PACKET_GEN = str(qemu.BUILD / "bench" / "packet_gen")
WORK = {"TCP x1, Gbit/s": 1, "TCP x8, Gbit/s": 8, "60 B, kframes/s": None}


class Pair:
    """Two namespaces with a device "eth0" each, joined in some way."""

    def __init__(self, stack, number):
        self.one, self.two = (stack.enter_context(netns.Netns()) for _ in range(2))
        self.to = f"10.{number}.0.2"
        self.join(stack, number)
        for host, end in (self.one, 1), (self.two, 2):
            host.run("ip", "addr", "add", f"10.{number}.0.{end}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
        if not until(lambda: netns.reaches(self.one, self.to)):
            raise qemu.QemuError(f"{self.name}: nothing passes")
        link = json.loads(self.two.run("ip", "-j", "link", "show", "eth0").stdout)
        self.mac = link[0]["address"]

    def tcp(self, streams, seconds):
        server = subprocess.Popen(
            qemu.tied(["nsenter", "-t", str(self.two.pid), "-n", "iperf3", "-s", "-1"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: self.two.call(lambda: netns.has_listener(5201)))
            done = self.one.run("iperf3", "-c", self.to, "-t", str(seconds), "-J", "-P",
                                str(streams), check=False)
            result = json.loads(done.stdout)
            if "error" in result:
                raise qemu.QemuError(f"{self.name}: {result['error']}")
            return result["end"]["sum_received"]["bits_per_second"] / 1e9
        finally:
            qemu.stop(server)

    def frames(self, seconds):
        """Thousands of frames a second that arrive."""
        counter = subprocess.Popen(
            qemu.tied(["nsenter", "-t", str(self.two.pid), "-n", PACKET_GEN, "count", "eth0",
                       str(seconds + 1)]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        with counter.stdout:
            counter.stdout.readline()
            self.one.run(PACKET_GEN, "send", "eth0", self.mac, "60", str(seconds))
            received = int(counter.stdout.readline())
        counter.wait(10)
        return received / seconds / 1e3

    def run(self, streams, seconds):
        return self.tcp(streams, seconds) if streams else self.frames(seconds)


class Bridge(Pair):
    name = "kernel bridge"

    def join(self, stack, number):
        bridge = f"br{number}"
        sandbox.ip("link", "add", bridge, "type", "bridge")
        sandbox.ip("link", "set", bridge, "up")
        for end, host in (1, self.one), (2, self.two):
            cable = f"v{number}-{end}"
            sandbox.ip("link", "add", cable, "type", "veth", "peer", "eth0", "netns", str(host.pid))
            sandbox.ip("link", "set", cable, "master", bridge, "up")


class Tap(Pair):
    name = "tap"
    options = ""

    def join(self, stack, number):
        names = [f"t{number}-{end}" for end in (1, 2)]
        stack.enter_context(Switch(*(f"tap:{n}?mtu=1500{self.options}" for n in names)))
        for name, host in zip(names, (self.one, self.two)):
            sandbox.ip("link", "set", name, "netns", str(host.pid), "name", "eth0")


class TapWithout(Tap):
    name = "tap, offload=off"
    options = "&offload=off"


class Veth(Pair):
    name = "veth"

    def join(self, stack, number):
        stack.enter_context(Switch(*(f"veth:v{number}-{end}?peer=eth0&netns={host.pid}"
                                     for end, host in ((1, self.one), (2, self.two)))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    why = sandbox.enter()
    if why or os.geteuid() != 0:
        print(f"takes root and namespaces: {why}", file=sys.stderr)
        return 1
    kinds = (Bridge, Tap, TapWithout, Veth)
    figures = {}
    try:
        with contextlib.ExitStack() as stack:
            pairs = [k(stack, 20 + i) for i, k in enumerate(kinds)]
            for number in range(-1, arguments.runs):
                # Whoever goes first in one turn goes last in the next.
                for pair in pairs if number % 2 else reversed(pairs):
                    for work, streams in WORK.items():
                        got = pair.run(streams, arguments.seconds if number >= 0 else 1)
                        # The first turn is not counted.
                        if number >= 0:
                            figures.setdefault((work, pair.name), []).append(got)
                            print(f"  run {number + 1}/{arguments.runs} {pair.name} {work}: "
                                  f"{got:.2f}", file=sys.stderr, flush=True)
    except (qemu.QemuError, OSError) as err:
        print(f"failed: {err}", file=sys.stderr)
        return 1
    print(f"MTU 1500, {arguments.runs} runs of {arguments.seconds} s in turns; "
          "median (least..most)")
    print(f"{'':<18}" + "".join(f"{k.name:>28}" for k in kinds))
    for work in WORK:
        cells = [figures[work, k.name] for k in kinds]
        print(f"{work:<18}" + "".join(
            f"{f'{statistics.median(c):.2f} ({min(c):.2f}..{max(c):.2f})':>28}" for c in cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
