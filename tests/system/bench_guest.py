# SPDX-License-Identifier: BSD-3-Clause
"""bench_guest.py - TCP throughput of one guest on QEMU's own user network and on ringplug://slirp.

The guests are booted once and then take turns, so that whatever else the machine does meets all.
"""

import argparse
import contextlib
import itertools
import re
import signal
import statistics
import sys

import guest
import hosts
import qemu
import sandbox

WAYS = ("guest to host", "host to guest")
# (on, its options); ratios are those to the first.
KINDS = {"user": ("user", []), "ringplug://slirp": ("ringplug", []),
         "slirp?mtu=1500": ("ringplug", [("mtu", "1500")])}


def rate(text, size):
    """Mbit/s from what guest_net printed."""
    moved, ms = map(int, re.search(r"bytes=(\d+) ms=(\d+)", text).groups())
    if moved != size:
        raise qemu.QemuError(f"{moved} of {size} bytes came")
    return moved * 8 / 1000 / max(ms, 1)


def to_host(vm, size):
    with hosts.TcpSink(digest=False) as sink:
        text = vm.ok(f"guest_net -q send 10.0.2.2 {sink.port} {size}", 300)
        sink.result(30)
    return rate(text, size)


def to_guest(vm, size):
    vm.begin("guest_net -q sink 9000", 300)
    vm.expect("ready\n")
    # One block again and again: the network is measured, not the generator.
    blocks = itertools.repeat(bytes(hosts.BLOCK), size // hosts.BLOCK)
    hosts.send_all(("127.0.0.1", vm.forwarded), blocks, 300)
    status, text = vm.finish()
    if status != 0:
        raise qemu.QemuError(f"guest_net ended with {status}: {text}")
    return rate(text, size)


def boot(stack, card, kind):
    forwarded = hosts.free_port()
    on, options = KINDS[kind]
    vm = guest.Guest(card, [("hostfwd", f"tcp:127.0.0.1:{forwarded}-:9000"), *options], on=on)
    vm.forwarded = forwarded
    stack.enter_context(vm)
    vm.dhcp()
    return vm


def measure(card, kinds, runs, size):
    """{(kind, way): [Mbit/s of each run]}"""
    rates = {(k, w): [] for k in kinds for w in WAYS}
    with contextlib.ExitStack() as stack:
        vms = {k: boot(stack, card, k) for k in kinds}
        for number in range(-1, runs):
            # Whoever goes first in one turn goes last in the next.
            for kind, vm in sorted(vms.items(), reverse=number % 2 == 0):
                for way, move in zip(WAYS, (to_host, to_guest)):
                    # The first turn warms caches and TCG's translations, and is not counted.
                    got = move(vm, size if number >= 0 else min(size, 8 << 20))
                    if number >= 0:
                        rates[kind, way].append(got)
                        print(f"  run {number + 1}/{runs} {card} {kind} {way}: {got:.0f} Mbit/s",
                              file=sys.stderr, flush=True)
    return rates


def report(card, kinds, rates):
    for way in WAYS:
        medians = {k: statistics.median(rates[k, way]) for k in kinds}
        cells = "".join(f"{medians[k]:9.0f} ({min(rates[k, way]):.0f}..{max(rates[k, way]):.0f})"
                        f"{medians[k] / medians[kinds[0]]:6.2f}".rjust(28) for k in kinds)
        print(f"{card:<16} {way:<14}{cells}", flush=True)


def interrupted(signum, _frame):
    raise KeyboardInterrupt(f"signal {signum}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=64, help="MiB each way in a run")
    parser.add_argument("--cards", default="virtio-net-pci,e1000")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    cards = arguments.cards.split(",")
    kinds = list(KINDS) if qemu.PLUGIN.exists() else ["user"]
    if kinds == ["user"]:
        print("ringplug is not built: only QEMU's own network is measured", file=sys.stderr)
    guest.prepare(*cards)
    sandbox.enter()
    print(f"TCP, one connection, {arguments.size} MiB a run, {arguments.runs} runs in turns, TCG; "
          "Mbit/s: median (min..max), ratio to user's")
    print(f"{'card':<16} {'way':<14}" + "".join(f"{k:>28}" for k in kinds))
    try:
        for card in cards:
            report(card, kinds, measure(card, kinds, arguments.runs, arguments.size << 20))
    except (qemu.QemuError, AssertionError, OSError) as err:
        print(f"failed: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
