# SPDX-License-Identifier: BSD-3-Clause
"""test_confined.py - what confined processes still reach: resolver, TFTP's folder, devices that went."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import hosts
import netns
import qemu
import sandbox
import tap

RINGPLUG = str(qemu.BUILD / "tools" / "ringplug")
NAME = "www.ringplug.test"
NET_ADMIN, NET_RAW, SYS_ADMIN = 1 << 12, 1 << 13, 1 << 21


def run(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False, **options)


class Nat(unittest.TestCase):
    def in_network(self, locator, *command):
        done = run(RINGPLUG, "netns", locator, "--", *command)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_name_server(self):
        """the host's resolver is read for the first time by a confined process"""
        # A folder's file, as the command's own resolver is mounted on top.
        with tempfile.TemporaryDirectory() as folder, hosts.Dns({NAME: ("10.0.2.2", None)}) as dns:
            conf, real = pathlib.Path(folder) / "resolv.conf", os.path.realpath("/etc/resolv.conf")
            conf.write_text("nameserver 127.0.0.1\n")
            subprocess.run(["mount", "--bind", conf, real], check=True)
            try:
                code = f"import socket; print(socket.gethostbyname('{NAME}'))"
                self.assertEqual(self.in_network("slirp", "/usr/bin/python3", "-c", code),
                                 "10.0.2.2\n")
                self.assertIn((NAME, 1), dns.asked)
            finally:
                subprocess.run(["umount", real], check=True)

    def test_tftp(self):
        """TFTP gives the files of its folder"""
        with tempfile.TemporaryDirectory() as folder:
            text = "x" * 5000
            (pathlib.Path(folder) / "kernel").write_text(text)
            fetch = ("busybox", "tftp", "-g", "-l", "/dev/stdout", "-r")
            self.assertEqual(self.in_network(f"slirp?tftp={folder}", *fetch, "kernel", "10.0.2.2"),
                             text)


class Devices(unittest.TestCase):
    """a device that went comes back, by the rights that its mode keeps and no others"""

    def switch(self, option, rights):
        home = tempfile.TemporaryDirectory(prefix="ringplug-")
        self.addCleanup(home.cleanup)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=home.name)
        p = subprocess.Popen(qemu.tied([RINGPLUG, "switch", "lan0", option]), env=self.environment,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(qemu.stop, p)
        self.assertEqual(p.stdout.readline(), "ready\n")
        for task in pathlib.Path(f"/proc/{p.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            self.assertEqual(int(status["CapEff"], 16), rights)
            self.assertEqual(status["NoNewPrivs"], "1")

    def found(self):
        shown = run(RINGPLUG, "show", "lan0", "--json", env=self.environment)
        ports = json.loads(shown.stdout)["ports"]
        return sum(p["counters"].get("tap.found", 0) for p in ports)

    def comes_back(self):
        for _ in range(200):
            if self.found() == 1:
                return
            time.sleep(0.05)
        self.fail("it did not come back")

    def test_tap(self):
        """tap"""
        self.switch("--uplink=tap:rpt0", NET_ADMIN)
        sandbox.ip("link", "del", "rpt0")
        self.comes_back()

    def test_tun(self):
        """tun"""
        self.switch("--uplink=tun:rpt0?address=192.0.2.1/24", NET_ADMIN)
        sandbox.ip("link", "del", "rpt0")
        self.comes_back()

    def test_eth(self):
        """eth"""
        make = "link", "add", "rpv0", "type", "veth", "peer", "rpv1"
        sandbox.ip(*make)
        self.addCleanup(run, "ip", "link", "del", "rpv0")
        self.switch("--uplink=eth:rpv0", NET_RAW)
        sandbox.ip("link", "del", "rpv0")
        sandbox.ip(*make)
        self.comes_back()

    def test_veth(self):
        """veth"""
        self.switch("--uplink=veth:rpv0", NET_ADMIN | NET_RAW)
        sandbox.ip("link", "del", "rpv0")
        self.comes_back()

    def test_netns(self):
        """netns"""
        with netns.Netns() as other:
            self.switch(f"--door=netns:{other.pid}?address=10.9.9.9/24", NET_ADMIN | SYS_ADMIN)
            other.run("ip", "link", "del", "eth0")
            self.comes_back()


def setup():
    why = sandbox.enter_with_tun("making devices takes root")
    if why:
        raise unittest.SkipTest(why)


if __name__ == "__main__":
    tap.main(setup)
