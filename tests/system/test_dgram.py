# SPDX-License-Identifier: BSD-3-Clause
"""test_dgram.py - unmodified QEMU on dgram doors and uplinks, by UNIX and UDP sockets."""

import json
import socket
import unittest

import guest
import hosts
import sandbox
import switch_process
import tap

MIB = 1 << 20
CARD = "virtio-net-pci"


def setup():
    guest.prepare(CARD)
    sandbox.enter()


def inet(end, port):
    return f"{end}.type=inet,{end}.host=127.0.0.1,{end}.port={port}"


def unix(end, path):
    return f"{end}.type=unix,{end}.path={path}"


class Emulators(unittest.TestCase):
    """Five guests and slirp on one switch: two share a UNIX door, two a UDP door, one is an uplink."""

    @classmethod
    def setUpClass(cls):
        cls.switch = switch = switch_process.Switch(0, "slirp")
        cls.addClassCleanup(switch.close)
        path = {name: str(switch.directory / name) for name in ("door", "a", "b", "c", "ours")}
        door, *ports = (hosts.free_port(socket.SOCK_DGRAM) for _ in range(3))
        switch.also(f"--door=dgram:{path['door']}", f"--door=dgram::{door}",
                    f"--uplink=dgram:{path['c']}?local={path['ours']}")
        switch.start()
        cls.http = hosts.Http({"/page": b"".join(hosts.payload(MIB, "dgram"))})
        cls.addClassCleanup(cls.http.close)
        cls.guests = []
        for netdev in (
                f"dgram,{unix('local', path['a'])},{unix('remote', path['door'])}",
                f"dgram,{unix('local', path['b'])},{unix('remote', path['door'])}",
                f"dgram,{inet('local', ports[0])},{inet('remote', door)}",
                f"socket,udp=127.0.0.1:{door},localaddr=127.0.0.1:{ports[1]}",
                f"dgram,{unix('local', path['c'])},{unix('remote', path['ours'])}"):
            number = len(cls.guests)
            vm = guest.Guest(None, (), "-netdev", f"{netdev},id=n0", "-device",
                             f"{CARD},netdev=n0,mac=52:54:00:12:35:{number:02x},romfile=",
                             kernel_of=CARD)
            cls.addClassCleanup(vm.close)
            vm.start()
            cls.guests.append(vm)
            vm.address = vm.dhcp()["lease"].split("/")[0]
            vm.ok(f"ip addr add {vm.address}/24 dev eth0 2>/dev/null; true")

    @classmethod
    def diagnostics(cls):
        return "\n".join(vm.diagnostics() for vm in getattr(cls, "guests", ()))

    def test_ports(self):
        """each has a port with a link, named after its address"""
        ports = [p for p in json.loads(self.switch.show())["ports"]
                 if "dgram:" in p["name"] and p["link"]]
        self.assertEqual(len(ports), len(self.guests), ports)

    def test_http(self):
        """1 MiB by HTTP to each, SHA-256 as it should be"""
        for vm in self.guests:
            text = vm.ok(f"wget -q -O - http://10.0.2.2:{self.http.port}/page | sha256sum", 60)
            self.assertIn(hosts.payload_sha256(MIB, "dgram"), text)

    def test_each_other(self):
        """each reaches each other"""
        for vm in self.guests:
            for other in self.guests:
                if vm is not other:
                    vm.ok(f"ping -c 1 {other.address}")

    def test_zz_restart(self):
        """a new switch hears the emulators as they go on"""
        self.switch.kill()
        for vm in self.guests:
            self.assertNotEqual(vm.run("ping -c 1 -W 1 10.0.2.2")[0], 0)
        self.switch.start()
        for vm in self.guests:
            vm.ok("until ping -c 1 -W 1 10.0.2.2; do :; done", 30)


if __name__ == "__main__":
    tap.main(setup)
