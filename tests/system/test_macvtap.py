# SPDX-License-Identifier: BSD-3-Clause
"""test_macvtap.py - who reaches whom through macvtap devices, for each of their modes.

Two guests, each a namespace on a switch of its own with a macvtap device on the same parent; the
parent's host; and a host outside, at the other end of the parent's cable.
"""

import contextlib
import os
import unittest

import netns
import qemu
import sandbox
import tap
from test_tap import Switch, devices, until

MACS = ("02:00:00:00:0a:01", "02:00:00:00:0a:02")
A, B, HOST, OUTSIDE = "10.6.0.1", "10.6.0.2", "10.6.0.8", "10.6.0.9"


class Macvtap(unittest.TestCase):
    def setUp(self):
        self._stack = contextlib.ExitStack()
        self.addCleanup(self._stack.close)
        enter = self._stack.enter_context
        self.hosts = {A: enter(netns.Netns()), B: enter(netns.Netns()), HOST: netns.Here(),
                      OUTSIDE: enter(netns.Netns())}
        outside = self.hosts[OUTSIDE]
        sandbox.ip("link", "add", "p0", "type", "veth", "peer", "p1", "netns", str(outside.pid))
        self.addCleanup(sandbox.ip, "link", "del", "p0")
        sandbox.ip("addr", "add", f"{HOST}/24", "dev", "p0")
        sandbox.ip("link", "set", "p0", "up")
        # A bridge outside, so that it can be told to reflect.
        for words in (["link", "add", "br0", "type", "bridge"],
                      ["link", "set", "p1", "master", "br0", "up"],
                      ["addr", "add", f"{OUTSIDE}/24", "dev", "br0"], ["link", "set", "br0", "up"]):
            outside.run("ip", *words)

    def guest(self, number, options):
        """A guest's switch, with the guest's address on both of its ends."""
        address, mac = (A, B)[number], MACS[number]
        return self._stack.enter_context(Switch(
            f"macvtap:p0?mac={mac}{options}",
            f"netns:{self.hosts[address].pid}?mac={mac}&address={address}/24"))

    def matrix(self, *names):
        """{(from, to)} of those that reach each other"""
        return {(one, other) for one in names for other in names
                if one != other and netns.reaches(self.hosts[one], other)}

    def settle(self, one, other):
        until(lambda: netns.reaches(self.hosts[one], other), 5)

    @staticmethod
    def both(*pairs):
        return {p for one, other in pairs for p in ((one, other), (other, one))}

    def guests(self, mode, options=("", "")):
        for number in 0, 1:
            self.guest(number, f"&mode={mode}{options[number]}")
        self.settle(A, OUTSIDE)

    def test_bridge(self):
        """mode bridge: guests and the outside; not the host"""
        self.guests("bridge")
        self.assertEqual(self.matrix(A, B, HOST, OUTSIDE),
                         self.both((A, B), (A, OUTSIDE), (B, OUTSIDE), (HOST, OUTSIDE)))

    def test_host_path(self):
        """mode bridge with a path for the host: all reach all"""
        sandbox.ip("addr", "del", f"{HOST}/24", "dev", "p0")
        self.guests("bridge", (f"&host-path=on&host-address={HOST}/24", ""))
        everybody = (A, B, HOST, OUTSIDE)
        self.assertEqual(self.matrix(*everybody),
                         {(a, b) for a in everybody for b in everybody if a != b})

    def test_vepa(self):
        """mode vepa: guests reach each other only by a switch outside that reflects"""
        self.guests("vepa")
        outward = self.both((A, OUTSIDE), (B, OUTSIDE), (HOST, OUTSIDE))
        self.assertEqual(self.matrix(A, B, HOST, OUTSIDE), outward)
        self.hosts[OUTSIDE].run("bridge", "link", "set", "dev", "p1", "hairpin", "on")
        self.settle(A, B)
        self.assertEqual(self.matrix(A, B, OUTSIDE) & self.both((A, B)), self.both((A, B)))

    def test_private(self):
        """mode private: only the outside, though it reflects"""
        self.hosts[OUTSIDE].run("bridge", "link", "set", "dev", "p1", "hairpin", "on")
        self.guests("private")
        self.assertEqual(self.matrix(A, B, OUTSIDE), self.both((A, OUTSIDE), (B, OUTSIDE)))

    def test_passthru(self):
        """mode passthru: one guest has the device for itself"""
        self.guest(0, "&mode=passthru")
        self.settle(A, OUTSIDE)
        self.assertEqual(self.matrix(A, HOST, OUTSIDE), self.both((A, OUTSIDE)))
        with self.assertRaises(qemu.QemuError):
            self.guest(1, "&mode=passthru")

    def test_source(self):
        """mode source: a guest hears only those whom it lets in"""
        shown = self.hosts[OUTSIDE].run("ip", "-br", "link", "show", "br0").stdout
        mac = shown.split()[2]
        self.guests("source", (f"&allow={mac}", "&allow=02:00:00:00:0b:0b"))
        self.assertEqual(self.matrix(A, B, OUTSIDE) & self.both((A, OUTSIDE), (B, OUTSIDE)),
                         self.both((A, OUTSIDE)))

    def test_bulk(self):
        """100 MiB of TCP each way between guest and outside, offloads on and off"""
        for offload in "on", "off":
            with self.subTest(offload), contextlib.ExitStack() as stack:
                stack.enter_context(Switch(
                    f"macvtap:p0?mac={MACS[0]}&offload={offload}",
                    f"netns:{self.hosts[A].pid}?mac={MACS[0]}&address={A}/24&offload={offload}"))
                self.settle(A, OUTSIDE)
                for sender, receiver in (A, OUTSIDE), (OUTSIDE, A):
                    sent, got = netns.bulk(self.hosts[sender], self.hosts[receiver], receiver)
                    self.assertEqual(sent, got)
            self.assertFalse([d for d in devices() if d.startswith("macv")])


def setup():
    if os.geteuid() != 0:
        raise unittest.SkipTest("the nodes of macvtap devices take root")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise unittest.SkipTest("no usable /dev/net/tun")
    why = sandbox.enter()
    if why:
        raise unittest.SkipTest(why)
    sandbox.ip("link", "add", "probe0", "type", "veth", "peer", "probe1")
    made = netns.Here().run("ip", "link", "add", "link", "probe0", "name", "probe2", "type",
                            "macvtap", check=False)
    sandbox.ip("link", "del", "probe0")
    if made.returncode != 0:
        raise unittest.SkipTest("this kernel has no macvtap devices")


if __name__ == "__main__":
    tap.main(setup)
