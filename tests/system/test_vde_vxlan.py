# SPDX-License-Identifier: BSD-3-Clause
"""test_vde_vxlan.py - vde: uplinks by libvdeplug's vxvde and vxlan modules, which know no switch.

Guests are namespaces on switches of ours. With vxvde two such switches share a multicast group;
with vxlan the far end is the kernel's own VXLAN device, in the namespace of another host.
"""

import contextlib
import unittest

import netns
import qemu
import sandbox
import tap
from test_tap import Switch, until

MIB = 1 << 20
A, B = "10.8.0.1", "10.8.0.2"
GROUP = "239.0.0.1"
MAC = "02:00:00:00:08:02"


def setup():
    if why := sandbox.enter():
        raise unittest.SkipTest(why)


def has_module(name):
    """Whether libvdeplug, wherever it looks, has a module of this name."""
    with contextlib.suppress(qemu.QemuError), Switch(f"vde:{name}://{GROUP}/if=lo"):
        return True
    return False


class _Network(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.enter = stack.enter_context

    @contextlib.contextmanager
    def host(self, address, url):
        """A namespace with this address on a switch of its own, which has the URL as its uplink."""
        with (netns.Netns() as host,
              Switch(f"vde:{url}", f"netns:{host.pid}?address={address}/24") as switch):
            yield host, switch

    def guest(self, address, url):
        """The same, until the test ends."""
        return self.enter(self.host(address, url))

    def joined(self, one, address):
        self.assertTrue(until(lambda: netns.reaches(one, address)), f"{address} is never reached")

    @staticmethod
    def uplink(switch):
        """The counters of the port that the URL is."""
        return next(p["counters"] for n, p in switch.ports().items() if n.startswith("vde:"))

    def check_traffic(self, one, other):
        """Ping and TCP, both ways, with whole frames of the MTU."""
        self.joined(one, B)
        for size in 56, 1472:
            done = one.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "-s", str(size), "-M", "do",
                           B)
            self.assertIn(" 3 received", done.stdout)
        for sender, receiver, address in (one, other, B), (other, one, A):
            sent, got = netns.bulk(sender, receiver, address, 8 * MIB)
            self.assertEqual(sent, got)


class Vxvde(_Network):
    def setUp(self):
        super().setUp()
        # What goes to the group comes back to all who are in it here.
        sandbox.ip("link", "set", "lo", "multicast", "on")
        sandbox.ip("route", "replace", f"{GROUP}/32", "dev", "lo")
        self.addCleanup(sandbox.ip, "route", "del", f"{GROUP}/32", "dev", "lo")
        if not has_module("vxvde"):
            self.skipTest("libvdeplug opens no vxvde module here")

    def test_two_switches(self):
        """vde:vxvde://GROUP twice in one namespace: ping and TCP between two switches of ours"""
        one, first = self.guest(A, f"vxvde://{GROUP}")
        other, second = self.guest(B, f"vxvde://{GROUP}")
        self.check_traffic(one, other)
        for s in first, second:
            self.assertGreater(self.uplink(s)["in.frames"], 0)

    def test_three(self):
        """a third switch joins the group later; a network of another number hears nothing"""
        one, _ = self.guest(A, f"vxvde://{GROUP}")
        other, _ = self.guest(B, f"vxvde://{GROUP}")
        third, _ = self.guest("10.8.0.3", f"vxvde://{GROUP}")
        stranger, strange = self.guest("10.8.0.4", f"vxvde://{GROUP}/vni=7")
        self.joined(one, "10.8.0.3")
        self.joined(third, B)
        self.assertFalse(netns.reaches(stranger, A))
        self.assertFalse(netns.reaches(other, "10.8.0.4"))
        self.assertEqual(self.uplink(strange)["in.frames"], 0)


class Vxlan(_Network):
    """Our switch's host and the far one are two ends of a cable that has room for the headers."""

    def setUp(self):
        super().setUp()
        if not has_module("vxlan"):
            self.skipTest("libvdeplug opens no vxlan module here")
        self.far = self.enter(netns.Netns())
        sandbox.ip("link", "add", "u0", "mtu", "1600", "type", "veth", "peer", "u1", "mtu", "1600",
                   "netns", str(self.far.pid))
        self.addCleanup(sandbox.ip, "link", "del", "u0")
        sandbox.ip("addr", "add", "192.0.2.1/24", "dev", "u0")
        sandbox.ip("link", "set", "u0", "up")
        self.far.run("ip", "addr", "add", "192.0.2.2/24", "dev", "u1")
        self.far.run("ip", "link", "set", "u1", "up")
        # A cable of the kernel's own would carry the device's frames without their checksums.
        self.far.run("ethtool", "-K", "u1", "tx", "off")
        sandbox.ip("route", "replace", f"{GROUP}/32", "dev", "u0")

    def device(self, vni, port=4789):
        done = self.far.run("ip", "link", "add", "vx0", "mtu", "1500", "address", MAC, "type",
                            "vxlan", "id", str(vni), "group", GROUP, "dev", "u1", "dstport",
                            str(port), "ttl", "1", check=False)
        if done.returncode != 0:
            self.skipTest(f"the kernel makes no VXLAN device: {done.stderr.strip()}")
        self.far.run("ip", "addr", "add", f"{B}/24", "dev", "vx0")
        self.far.run("ip", "link", "set", "vx0", "up")

    def test_kernel(self):
        """vde:vxlan://GROUP to the kernel's VXLAN device: ping and TCP both ways"""
        self.device(1)
        one, switch = self.guest(A, f"vxlan://{GROUP}")
        self.check_traffic(one, self.far)
        port = self.uplink(switch)
        self.assertGreater(port["in.frames"], 0)
        self.assertEqual(port["drop.truncated"], 0)

    def test_number_and_port(self):
        """vni= and port= are the device's id and dstport; another id hears nothing"""
        self.device(42, 8472)
        with self.host(A, f"vxlan://{GROUP}/port=8472/vni=43") as (stranger, _):
            self.assertFalse(netns.reaches(stranger, B))
        one, _ = self.guest(A, f"vxlan://{GROUP}/port=8472/vni=42")
        self.joined(one, B)

    def test_far_end_again(self):
        """the device goes and comes back: so does the network"""
        self.device(1)
        one, _ = self.guest(A, f"vxlan://{GROUP}")
        self.joined(one, B)
        self.far.run("ip", "link", "del", "vx0")
        self.assertFalse(netns.reaches(one, B))
        self.device(1)
        self.joined(one, B)


if __name__ == "__main__":
    tap.main(setup)
