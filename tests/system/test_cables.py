# SPDX-License-Identifier: BSD-3-Clause
"""test_cables.py - two switches joined by two cables at once: a loop that is cut.

Each switch has a namespace as its guest. What the cables are differs; the traffic does not.
"""

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import netns
import qemu
import sandbox
import tap
from test_tap import until

RINGPLUG = str(qemu.BUILD / "tools" / "ringplug")
MIB = 1 << 20
A, B = "10.7.0.1", "10.7.0.2"
# What a moment's circling may cost; without an end to it there are hundreds of thousands a second.
MOST_FRAMES = 200_000


def setup():
    if why := sandbox.enter():
        raise unittest.SkipTest(why)


class Cables(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.enter = stack.enter_context
        self.home = self.enter(tempfile.TemporaryDirectory(prefix="ringplug-cables-"))
        self.one, self.two = self.enter(netns.Netns()), self.enter(netns.Netns())

    def start(self, *command, ready="ready\n"):
        process = subprocess.Popen(
            qemu.tied(command), env=dict(os.environ, XDG_RUNTIME_DIR=self.home), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for pipe in process.stdin, process.stdout, process.stderr:
            self.addCleanup(pipe.close)
        self.addCleanup(qemu.stop, process)
        if ready:
            self.assertTrue(select.select([process.stdout], [], [], 20)[0])
            self.assertEqual(process.stdout.readline(), ready)
        return process

    def switch(self, name, host, address, *arguments):
        return self.start(RINGPLUG, "switch", name, f"--uplink=netns:{host.pid}?address={address}/24",
                          *arguments)

    def ports(self, name):
        shown = subprocess.run([RINGPLUG, "show", name, "--json"], check=True, text=True, timeout=20,
                               env=dict(os.environ, XDG_RUNTIME_DIR=self.home), capture_output=True)
        return json.loads(shown.stdout)["ports"]

    def frames(self, *names):
        return sum(p["counters"]["in.frames"] for n in names for p in self.ports(n))

    def shout(self, host, count=50):
        """Broadcasts, which a loop would send around."""
        def send():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
                s.bind(("eth0", 0))
                mac = s.getsockname()[4]
                for n in range(count):
                    s.send(b"\xff" * 6 + mac + struct.pack("!HI", 0x88B6, n) + bytes(46))
        host.call(send)

    def check(self, *names):
        """Frames end, and traffic passes."""
        self.shout(self.one)
        self.shout(self.two)
        self.assertTrue(until(lambda: netns.reaches(self.one, B)))
        self.assertLess(self.frames(*names), MOST_FRAMES)
        for host in self.one, self.two:
            before = self.frames(*names)
            self.shout(host)
            time.sleep(0.5)
            # Each comes in at two switches at most, and now and then a host says something.
            self.assertLess(self.frames(*names) - before, 500)
        done = self.one.run("ping", "-c", "10", "-i", "0.1", "-W", "5", B)
        self.assertIn(" 10 received", done.stdout)
        self.assertNotIn("DUP", done.stdout)
        for sender, receiver, address in (self.one, self.two, B), (self.two, self.one, A):
            sent, got = netns.bulk(sender, receiver, address, 8 * MIB)
            self.assertEqual(sent, got)

    def holds(self, *names):
        return sum(p["counters"]["loop.holds"] for n in names for p in self.ports(n))

    def test_ours(self):
        """two cables by a vde: door, and by shared memory: ping, TCP, no storm"""
        path = f"{self.home}/net"
        cables = f"vde:{path}", "switch:far?start=off"
        for pair in (cables[0], cables[0]), cables, (cables[1], cables[1]):
            with self.subTest(pair):
                far = self.switch("far", self.two, B, f"--door=vde:{path}")
                near = self.switch("near", self.one, A, *(f"--uplink={c}" for c in pair))
                self.check("near", "far")
                self.assertGreater(self.holds("near", "far"), 0)
                qemu.stop(near)
                qemu.stop(far)
                self.assertIn("is held back for as long", near.stderr.read() + far.stderr.read())

    def test_hand_over(self):
        """the older cable goes during a TCP transfer, which the other one carries to its end"""
        path = f"{self.home}/net"
        self.switch("far", self.two, B, f"--door=vde:{path}", f"--door=vde:{path}2")
        near = f"{self.home}/near"
        self.switch("near", self.one, A, f"--door=vde:{near}")
        first = self.start("vde_plug", f"vde://{near}", f"vde://{path}", ready=None)
        self.assertTrue(until(lambda: netns.reaches(self.one, B)))
        self.start("vde_plug", f"vde://{near}", f"vde://{path}2", ready=None)
        self.assertTrue(until(lambda: len(self.ports("near")) == 5))
        self.shout(self.one)
        with contextlib.ExitStack() as stack:
            timer = threading.Timer(0.3, first.kill)
            stack.callback(timer.join)
            timer.start()
            sent, got = netns.bulk(self.one, self.two, B, 64 * MIB)
        self.assertEqual(sent, got)
        self.assertIsNotNone(first.wait(20))


if __name__ == "__main__":
    tap.main(setup)
