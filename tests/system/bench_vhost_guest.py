# SPDX-License-Identifier: BSD-3-Clause
"""bench_vhost_guest.py - TCP of guests on vhost-user doors, beside -netdev user and vde_switch.

One guest to its host and back, and one guest to another. All guests are booted once and then take
turns, so that whatever else the machine does meets all.
"""

import argparse
import contextlib
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import bench_guest
import guest
import hosts
import qemu
import sandbox
import switch_process

MAC = "52:54:00:12:34:5{}"


def on_vhost_user(stack):
    """A guest that reaches its host through slirp on `ringplug switch`."""
    forwarded = hosts.free_port()
    switch = stack.enter_context(switch_process.Switch(
        1, f"slirp?hostfwd=tcp:127.0.0.1:{forwarded}-:9000"))
    vm = stack.enter_context(switch_process.boot(switch.doors[0], MAC.format(6)))
    vm.forwarded = forwarded
    vm.dhcp()
    return vm


def addressed(vms):
    for number, vm in enumerate(vms):
        vm.ok(f"ip link set eth0 up && ip addr add 10.9.0.{number + 1}/24 dev eth0")
    return vms


def pair_on_vhost_user(stack):
    switch = stack.enter_context(switch_process.Switch(2))
    return addressed([stack.enter_context(switch_process.boot(door, MAC.format(number)))
                      for number, door in enumerate(switch.doors)])


def pair_on_vde_switch(stack):
    directory = pathlib.Path(stack.enter_context(
        tempfile.TemporaryDirectory(prefix="ringplug-bench-")))
    path = directory / "switch"
    switch = subprocess.Popen(qemu.tied(["vde_switch", "--sock", str(path)]),
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    stack.callback(switch.stdin.close)
    stack.callback(qemu.stop, switch)
    while not (path / "ctl").exists():
        if switch.poll() is not None:
            raise qemu.QemuError("vde_switch did not start")
        time.sleep(0.05)
    vms = []
    for number in 2, 3:
        vm = guest.Guest(None, (), "-netdev", f"vde,id=n0,sock={path}", "-device",
                         f"virtio-net-pci,netdev=n0,mac={MAC.format(number)},romfile=",
                         kernel_of="virtio-net-pci")
        vms.append(stack.enter_context(vm))
    return addressed(vms)


def across(pair, size):
    sender, receiver = pair
    receiver.begin("guest_net -q sink 9000", 300)
    receiver.expect("ready\n")
    text = sender.ok(f"guest_net -q send 10.9.0.2 9000 {size}", 300)
    status, said = receiver.finish()
    if status != 0:
        raise qemu.QemuError(f"guest_net ended with {status}: {said}")
    return bench_guest.rate(text, size)


def measure(title, moves, runs, size):
    """moves: {name: function of a size}; the first name is the peer's."""
    rates = {name: [] for name in moves}
    for number in range(-1, runs):
        # Whoever goes first in one turn goes last in the next.
        for name, move in sorted(moves.items(), reverse=number % 2 == 0):
            got = move(size if number >= 0 else min(size, 8 << 20))
            if number >= 0:  # the first turn warms caches and TCG's translations
                rates[name].append(got)
    medians = {name: statistics.median(r) for name, r in rates.items()}
    peer, ours = moves
    cells = [f"{name} {medians[name]:.0f} ({min(r):.0f}..{max(r):.0f})"
             for name, r in rates.items()]
    print(f"{title:<16} {cells[0]:<34} {cells[1]:<34} {medians[ours] / medians[peer]:6.2f}",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=64, help="MiB in a run")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, bench_guest.interrupted)
    guest.prepare("virtio-net-pci")
    sandbox.enter()
    size = arguments.size << 20
    print(f"TCP, one connection, {arguments.size} MiB a run, {arguments.runs} runs in turns, TCG; "
          "Mbit/s: median (min..max), ratio")
    try:
        with contextlib.ExitStack() as stack:
            user = bench_guest.boot(stack, "virtio-net-pci", "user")
            vhost = on_vhost_user(stack)
            for way, move in (("guest to host", bench_guest.to_host),
                              ("host to guest", bench_guest.to_guest)):
                measure(way, {"-netdev user": lambda n, move=move: move(user, n),
                              "vhost-user+slirp": lambda n, move=move: move(vhost, n)},
                        arguments.runs, size)
        with contextlib.ExitStack() as stack:
            vde = pair_on_vde_switch(stack)
            vhost = pair_on_vhost_user(stack)
            measure("guest to guest", {"vde_switch": lambda n: across(vde, n),
                                       "vhost-user": lambda n: across(vhost, n)},
                    arguments.runs, size)
    except (qemu.QemuError, AssertionError, OSError) as err:
        print(f"failed: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
