# SPDX-License-Identifier: BSD-3-Clause
"""test_stream.py - unmodified QEMU and passt on stream doors and uplinks, as clients and servers."""

import json
import re
import shutil
import subprocess
import time
import unittest

import guest
import hosts
import qemu
import sandbox
import switch_process
import tap

MIB = 1 << 20
CARD = "virtio-net-pci"
PATIENCE = 20


def setup():
    guest.prepare(CARD)
    sandbox.enter()


def boot(number, netdev):
    """A guest with this backend, not yet started."""
    return guest.Guest(None, (), "-netdev", f"{netdev},id=n0", "-device",
                       f"{CARD},netdev=n0,mac=52:54:00:12:35:{number:02x},romfile=",
                       kernel_of=CARD)


def transferred(text):
    """(bytes, sha256) of what guest_net printed."""
    return re.search(r"bytes=(\d+) ms=\d+ sha256=(\w+)", text).groups()


def eventually(what, why):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.05)


class _Net(unittest.TestCase):
    def show(self):
        return {p["name"]: p for p in json.loads(self.switch.show())["ports"]}

    def bulk(self, vm, host):
        with hosts.TcpSink() as sink:
            text = vm.ok(f"guest_net send {host} {sink.port} {16 * MIB}", 100)
            got = sink.result(10)
        self.assertEqual((str(got.bytes), got.sha256), transferred(text))
        self.assertEqual(got.bytes, 16 * MIB)


class Emulators(_Net):
    """Four guests and slirp on one switch: two connect to it, it connects to two."""

    @classmethod
    def setUpClass(cls):
        cls.switch = switch = switch_process.Switch(0, "slirp")
        cls.addClassCleanup(switch.close)
        cls.door, cls.listener = str(switch.directory / "door"), str(switch.directory / "qemu")
        ports = hosts.free_port(), hosts.free_port()
        switch.also(f"--door=stream:{cls.door}", f"--door=stream::{ports[0]}",
                    f"--uplink=stream:{cls.listener}", f"--uplink=stream:127.0.0.1:{ports[1]}")
        switch.start()
        cls.guests = []
        for netdev in (f"stream,server=off,addr.type=unix,addr.path={cls.door}",
                       f"socket,connect=127.0.0.1:{ports[0]}",
                       f"stream,server=on,addr.type=unix,addr.path={cls.listener}",
                       f"socket,listen=127.0.0.1:{ports[1]}"):
            vm = boot(len(cls.guests), netdev)
            cls.addClassCleanup(vm.close)
            vm.start()
            vm.address = vm.dhcp()["lease"].split("/")[0]
            vm.ok(f"ip addr add {vm.address}/24 dev eth0 2>/dev/null; true")
            cls.guests.append(vm)

    @classmethod
    def diagnostics(cls):
        return "\n".join(vm.diagnostics() for vm in getattr(cls, "guests", ()))

    def test_ports(self):
        """each has a port with a link"""
        ports = self.show()
        self.assertEqual(sum(p["link"] for name, p in ports.items() if "stream:" in name), 4)

    def test_bulk(self):
        """16 MiB from each to the host, SHA-256 equal at both ends"""
        for vm in self.guests:
            self.bulk(vm, "10.0.2.2")

    def test_each_other(self):
        """each reaches each other"""
        for vm in self.guests:
            for other in self.guests:
                if vm is not other:
                    vm.ok(f"ping -c 1 {other.address}")

    def test_zz_restart(self):
        """a new switch finds the emulators that listen by itself"""
        self.switch.kill()
        for vm in self.guests[2:]:
            self.assertNotEqual(vm.run("ping -c 1 -W 1 10.0.2.2")[0], 0)
        self.switch.start()
        for vm in self.guests[2:]:
            vm.ok("until ping -c 1 -W 1 10.0.2.2; do :; done", 30)


class Passt(_Net):
    """passt in front of a switch."""

    def test_uplink(self):
        """a guest gets passt's address through the switch, and 16 MiB to the host"""
        if not shutil.which("passt"):
            self.skipTest("passt is not installed")
        sandbox.ip("link", "add", "out0", "type", "veth", "peer", "name", "out1")
        self.addCleanup(sandbox.ip, "link", "del", "out0")
        sandbox.ip("addr", "add", "10.9.0.2/24", "dev", "out0")
        for end in "out0", "out1":
            sandbox.ip("link", "set", end, "up")
        sandbox.ip("route", "add", "default", "via", "10.9.0.1", "dev", "out0")
        with switch_process.Switch(0) as empty:
            directory = empty.directory
            directory.chmod(0o711)
            # As root it becomes nobody, who needs a folder of its own.
            own = directory / "passt"
            own.mkdir()
            own.chmod(0o777)
            self.switch = switch_process.Switch(0)
            self.addCleanup(self.switch.close)
            self.switch.also(f"--door=stream:{directory}/door", f"--uplink=stream:{own}/socket")
            # First the switch: it waits for its uplink.
            self.switch.start()
            passt = subprocess.Popen(qemu.tied(["passt", "-f", "-e", "-4", "-s", f"{own}/socket"]),
                                     stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.addCleanup(passt.stderr.close)
            self.addCleanup(qemu.stop, passt)
            uplink = f"stream:{own}/socket"
            try:
                eventually(lambda: self.show()[uplink]["link"], "passt never came")
            except AssertionError:
                if passt.poll() is None:
                    raise
                self.skipTest(f"passt does not run here: {passt.stderr.read()[-300:]}")
            with boot(1, f"stream,server=off,addr.type=unix,addr.path={directory}/door") as vm:
                lease = vm.dhcp()
                self.assertEqual((lease["lease"].split("/")[0], lease["router"]),
                                 ("10.9.0.2", "10.9.0.1"))
                vm.ok("ip addr add 10.9.0.2/24 dev eth0 2>/dev/null; true")
                self.bulk(vm, "10.9.0.1")


if __name__ == "__main__":
    tap.main(setup)
