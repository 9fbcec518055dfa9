# SPDX-License-Identifier: BSD-3-Clause
"""test_tap_ifb.py - ifb: what comes in at a device, redirected and shaped, for guests and the host."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

import netns
import sandbox
import tap
from test_tap import RINGPLUG, Switch, devices, until

MIB = 1 << 20
HOST, OUTSIDE, GUEST = "10.3.0.1", "10.3.0.2", "10.3.0.3"
MAC = "02:00:00:00:03:02"
HERE = netns.Here()


def setup():
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise unittest.SkipTest("no usable /dev/net/tun")
    if why := sandbox.enter():
        raise unittest.SkipTest(why)
    # An ifb device and all that the redirection takes.
    sandbox.ip("link", "add", "d0", "type", "veth")
    try:
        done = attempt("ifb:i0?dev=d0&rate=1mbit", "null")
        if "this kernel has no" in done.stderr:
            raise unittest.SkipTest(done.stderr.strip())
    finally:
        sandbox.ip("link", "del", "d0")


def attempt(*uplinks):
    """What a switch with these says that ends at once, for want of a folder to have its name in."""
    with tempfile.TemporaryDirectory(prefix="ringplug-ifb-") as home:
        return subprocess.run(
            [str(RINGPLUG), "switch", "lan1", *(f"--uplink={u}" for u in uplinks),
             "--door=vde:/nonexistent/folder/net"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
            env=dict(os.environ, XDG_RUNTIME_DIR=home))


def queues(device):
    """The kinds of the device's traffic control queues."""
    shown = json.loads(HERE.run("tc", "-s", "-j", "qdisc", "show", "dev", device).stdout)
    return {q["kind"]: q for q in shown}


class Ifb(unittest.TestCase):
    def setUp(self):
        self.outside, self.guest = netns.Netns(), netns.Netns()
        self.addCleanup(self.outside.close)
        self.addCleanup(self.guest.close)
        self.cable()
        self.addCleanup(HERE.run, "ip", "link", "del", "p0", check=False)

    def cable(self):
        # The same address when it is made again, so that nobody's ARP entry has to age.
        sandbox.ip("link", "add", "p0", "type", "veth", "peer", "p1", "address", MAC, "netns",
                   str(self.outside.pid))
        sandbox.ip("addr", "add", f"{HOST}/24", "dev", "p0")
        sandbox.ip("link", "set", "p0", "up")
        self.outside.run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "p1")
        self.outside.run("ip", "link", "set", "p1", "up")

    def switch(self, options=""):
        s = Switch(f"ifb:i0?dev=p0{options}", f"netns:{self.guest.pid}?address={GUEST}/24")
        self.addCleanup(s.close)
        return s

    def joined(self):
        self.assertTrue(until(lambda: netns.reaches(self.guest, OUTSIDE)))

    def transfer(self, sender, receiver, address, size):
        sent, got = netns.bulk(sender, receiver, address, size)
        self.assertEqual(sent, got)

    def test_reachability_and_bulk(self):
        """guest and host reach the outside and are reached, each other not; offloads on and off"""
        who = {HOST: HERE, OUTSIDE: self.outside, GUEST: self.guest}
        for offload in "on", "off":
            with self.subTest(offload):
                s = self.switch(f"&offload={offload}")
                self.joined()
                reached = {(a, b) for a in who for b in who if a != b and netns.reaches(who[a], b)}
                self.assertEqual(reached, {(GUEST, OUTSIDE), (OUTSIDE, GUEST), (HOST, OUTSIDE),
                                           (OUTSIDE, HOST)})
                self.transfer(self.outside, self.guest, GUEST, 100 * MIB)
                self.transfer(self.guest, self.outside, OUTSIDE, 100 * MIB)
                self.transfer(self.outside, HERE, HOST, 16 * MIB)
                s.close()
                self.assertNotIn("i0", devices())
                self.assertEqual(set(queues("p0")), {"noqueue"})

    def test_rate(self):
        """rate=: what comes in waits for its turn, for the guest and for the host"""
        self.switch("&rate=40mbit&burst=32768")
        self.assertEqual(queues("i0")["tbf"]["options"]["rate"], 40_000_000 // 8)
        self.joined()
        for receiver, address in (self.guest, GUEST), (HERE, HOST):
            before = queues("i0")["tbf"]["overlimits"]
            self.transfer(self.outside, receiver, address, 4 * MIB)
            self.assertGreater(queues("i0")["tbf"]["overlimits"], before)
        # What goes out does not.
        before = queues("i0")["tbf"]["bytes"]
        self.transfer(self.guest, self.outside, OUTSIDE, 16 * MIB)
        self.assertLess(queues("i0")["tbf"]["bytes"] - before, 4 * MIB)

    def test_signals(self):
        """the ifb and the redirection go with the switch when a signal ends it"""
        for signum in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            s = self.switch("&rate=1gbit")
            self.assertIn("i0", devices())
            self.assertIn("ingress", queues("p0"))
            s.process.send_signal(signum)
            self.assertEqual(s.process.wait(20), 0)
            self.assertNotIn("i0", devices())
            self.assertEqual(set(queues("p0")), {"noqueue"})

    def test_device_goes_and_comes_back(self):
        """the device is deleted and made again: so is the redirection"""
        s = self.switch()
        self.joined()
        sandbox.ip("link", "del", "p0")
        port = lambda: s.ports()["ifb:i0"]
        self.assertTrue(until(lambda: not port()["link"]))
        self.cable()
        self.assertTrue(until(lambda: port()["link"] and port()["counters"]["tap.found"] == 1))
        self.joined()

    def test_refusals(self):
        """what is somebody else's stays, and what is wrong is said; nothing is left behind"""
        HERE.run("tc", "qdisc", "add", "dev", "p0", "ingress")
        done = attempt("ifb:i0?dev=p0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("ifb:i0: redirecting what comes in: the device has an ingress", done.stderr)
        self.assertIn("ingress", queues("p0"))
        self.assertNotIn("i0", devices())
        HERE.run("tc", "qdisc", "del", "dev", "p0", "ingress")
        for locator, code, words in (
                ("ifb:i0", 2, "which device's frames? Give dev="),
                ("ifb:i0?dev=nosuch", 1, "there is no device 'nosuch'"),
                ("ifb:p0?dev=p0", 1, "ifb:p0: making a ifb device"),
                ("ifb:i0?dev=p0&rate=10", 2, "8kbit to 1tbit"),
                ("ifb:i0?dev=p0&rate=10mbytes", 2, "as in 10mbit"),
                ("ifb:i0?dev=p0&burst=4096", 2, "without rate="),
                ("ifb:sixteen-letters-?dev=p0", 2, "more than 15 bytes")):
            with self.subTest(locator):
                done = attempt(locator)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr)
                self.assertNotIn("i0", devices())
                self.assertEqual(set(queues("p0")), {"noqueue"})


if __name__ == "__main__":
    tap.main(setup)
