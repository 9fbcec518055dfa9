# SPDX-License-Identifier: BSD-3-Clause
"""test_tap.py - the mode tap: `ringplug switch` between the kernels of several namespaces."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import netns
import qemu
import sandbox
import tap

RINGPLUG = qemu.BUILD / "tools" / "ringplug"
BRIDGE_HELPER = pathlib.Path("/usr/lib/qemu/qemu-bridge-helper")


class Switch:
    """A `ringplug switch` with these uplinks, ready."""

    def __init__(self, *uplinks):
        self.home = tempfile.mkdtemp(prefix="ringplug-tap-")
        self.process = subprocess.Popen(
            qemu.tied([str(RINGPLUG), "switch", "lan0", *(f"--uplink={u}" for u in uplinks)]),
            env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        ready = select.select([self.process.stdout], [], [], 20)[0]
        if not ready or self.process.stdout.readline() != "ready\n":
            self.close()
            raise qemu.QemuError("ringplug switch did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _environment(self):
        return dict(os.environ, XDG_RUNTIME_DIR=self.home)

    def ports(self):
        """{name: port}"""
        shown = subprocess.run([str(RINGPLUG), "show", "lan0", "--json"], check=True,
                               env=self._environment(), capture_output=True, text=True, timeout=20)
        return {p["name"]: p for p in json.loads(shown.stdout)["ports"]}

    def close(self):
        qemu.stop(self.process)
        self.process.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)


def devices():
    return {d["ifname"] for d in json.loads(netns.Here().run("ip", "-j", "link").stdout)}


def until(what, seconds=20):
    """Waits for what() to be true; returns whether it came to be."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class _Between(unittest.TestCase):
    """A switch with a tap device of this namespace and one that moves to another host."""

    here_options = there_options = ""

    @classmethod
    def setUpClass(cls):
        cls.far = netns.Netns()
        cls.addClassCleanup(cls.far.close)
        cls.switch = Switch(
            f"tap:t0?mtu=9000&address=10.9.0.1/24&address=fd09::1/64{cls.here_options}",
            f"tap:t1?mtu=9000{cls.there_options}")
        cls.addClassCleanup(cls.switch.close)
        sandbox.ip("link", "set", "t1", "netns", str(cls.far.pid))
        for words in (["addr", "add", "10.9.0.2/24", "dev", "t1"],
                      ["addr", "add", "fd09::2/64", "dev", "t1", "nodad"],
                      ["link", "set", "t1", "up"]):
            cls.far.run("ip", *words)
        assert until(lambda: netns.reaches(netns.Here(), "10.9.0.2"))

    def test_bulk(self):
        """100 MiB of TCP each way, IPv4 and IPv6, SHA-256 equal at both ends"""
        here = netns.Here()
        for sender, receiver, address in ((here, self.far, "10.9.0.2"), (self.far, here, "10.9.0.1"),
                                          (here, self.far, "fd09::2"), (self.far, here, "fd09::1")):
            with self.subTest(address):
                sent, got = netns.bulk(sender, receiver, address)
                self.assertEqual(sent, got)

    def test_large_frames(self):
        """frames are as large as the offloads of both ends allow"""
        moved = {n: (p["counters"]["in.bytes"], p["counters"]["in.frames"])
                 for n, p in self.switch.ports().items() if n.startswith("tap:")}
        for name, options in (("tap:t0", self.here_options), ("tap:t1", self.there_options)):
            size = moved[name][0] / moved[name][1]
            tap.note(f"{name}: {size:.0f} bytes a frame on average")
            (self.assertLess if "offload=off" in options else self.assertGreater)(size, 9014)
        for name, port in self.switch.ports().items():
            for counter in "drop.bad-offload", "drop.segmentation":
                self.assertEqual(port["counters"][counter], 0, (name, counter))


class Offloads(_Between):
    pass


class NoOffloads(_Between):
    here_options = there_options = "&offload=off"


class OffloadsOfOneEnd(_Between):
    there_options = "&offload=off"


class Veth(unittest.TestCase):
    """pairs of devices, and a device of the host's by a packet socket"""

    def test_reachability_and_bulk(self):
        """three hosts on veth, eth and tap: all reach all, 100 MiB each way, offloads on and off"""
        for offload in "on", "off":
            with self.subTest(offload), netns.Netns() as one, netns.Netns() as two:
                # The host's device is one end of a cable to the second host.
                sandbox.ip("link", "add", "p0", "type", "veth", "peer", "eth0", "netns",
                           str(two.pid))
                self.addCleanup(netns.Here().run, "ip", "link", "del", "p0", check=False)
                sandbox.ip("link", "set", "p0", "up")
                two.run("ip", "addr", "add", "10.5.0.2/24", "dev", "eth0")
                two.run("ip", "link", "set", "eth0", "up")
                with Switch(f"veth:v0?peer=eth0&netns={one.pid}&address=10.5.0.1/24"
                            f"&offload={offload}",
                            f"eth:p0?offload={offload}",
                            f"tap:t0?address=10.5.0.3/24&offload={offload}"):
                    who = {"10.5.0.1": one, "10.5.0.2": two, "10.5.0.3": netns.Here()}
                    for source, host in who.items():
                        for target in who:
                            if source != target:
                                self.assertTrue(until(lambda: netns.reaches(host, target), 5),
                                                (source, target))
                    for source, target in (("10.5.0.1", "10.5.0.2"), ("10.5.0.2", "10.5.0.1"),
                                           ("10.5.0.3", "10.5.0.2"), ("10.5.0.1", "10.5.0.3")):
                        sent, got = netns.bulk(who[source], who[target], target)
                        self.assertEqual(sent, got, (source, target))
                self.assertFalse({"v0", "t0"} & devices())
                sandbox.ip("link", "del", "p0")


class Tun(unittest.TestCase):
    """an IP device as the gateway of two guests"""

    def test_reachability_and_bulk(self):
        """guests, host and a network behind it, IPv4 and IPv6: all reach all, 100 MiB each way"""
        here = netns.Here()
        # Behind the host: an address of its own that guests reach by their default route.
        for address in "198.51.100.1/32", "2001:db8:9::1/128":
            sandbox.ip("addr", "add", address, "dev", "lo")
            self.addCleanup(sandbox.ip, "addr", "del", address, "dev", "lo")
        for offload in "on", "off":
            with self.subTest(offload), netns.Netns() as one, netns.Netns() as two:
                guest = lambda host, n: (f"netns:{host.pid}?address=10.4.0.{n}/24&gateway=10.4.0.1"
                                         f"&address=fd04::{n}/64&gateway=fd04::1&offload={offload}")
                with Switch(f"tun:t0?address=10.4.0.1/24&address=fd04::1/64&offload={offload}",
                            guest(one, 2), guest(two, 3)):
                    hosts_of = {"10.4.0.1": here, "fd04::1": here, "198.51.100.1": here,
                                "2001:db8:9::1": here, "10.4.0.2": one, "fd04::2": one,
                                "10.4.0.3": two, "fd04::3": two}
                    for source in here, one, two:
                        for target, host in hosts_of.items():
                            if source is not host:
                                self.assertTrue(until(lambda: netns.reaches(source, target), 10),
                                                (source.pid, target))
                    for source, target in ((one, "10.4.0.1"), (here, "10.4.0.2"),
                                           (two, "2001:db8:9::1"), (here, "fd04::3")):
                        sent, got = netns.bulk(source, hosts_of[target], target)
                        self.assertEqual(sent, got, target)
                self.assertNotIn("t0", devices())


class Bridge(unittest.TestCase):
    """tap devices in a kernel bridge, with a further host on it"""

    def test_reachability(self):
        """guest, host and a neighbour on the bridge reach each other; without a bridge they don't"""
        here = netns.Here()
        with netns.Netns() as neighbour, netns.Netns() as guest:
            sandbox.ip("link", "add", "br0", "type", "bridge")
            self.addCleanup(sandbox.ip, "link", "del", "br0")
            sandbox.ip("addr", "add", "10.8.0.1/24", "dev", "br0")
            sandbox.ip("link", "set", "br0", "up")
            sandbox.ip("link", "add", "v0", "type", "veth", "peer", "v1", "netns",
                       str(neighbour.pid))
            sandbox.ip("link", "set", "v0", "master", "br0", "up")
            neighbour.run("ip", "addr", "add", "10.8.0.2/24", "dev", "v1")
            neighbour.run("ip", "link", "set", "v1", "up")
            who = {"10.8.0.1": here, "10.8.0.2": neighbour, "10.8.0.3": guest}
            for bridged in True, False:
                with Switch("tap:t0" + ("?bridge=br0" if bridged else ""), "tap:g0"):
                    sandbox.ip("link", "set", "g0", "netns", str(guest.pid))
                    guest.run("ip", "addr", "add", "10.8.0.3/24", "dev", "g0")
                    guest.run("ip", "link", "set", "g0", "up")
                    until(lambda: netns.reaches(guest, "10.8.0.2") == bridged)
                    for source, host in who.items():
                        for target in who:
                            if source == target:
                                continue
                            expected = bridged or "10.8.0.3" not in (source, target)
                            self.assertEqual(netns.reaches(host, target), expected,
                                             (bridged, source, target))
                self.assertNotIn("t0", devices())

    def test_bridge_helper(self):
        """qemu-bridge-helper's device on a bridge, and its refusal in its own words"""
        if not BRIDGE_HELPER.exists():
            self.skipTest(f"no {BRIDGE_HELPER}")
        sandbox.ip("link", "add", "br1", "type", "bridge")
        self.addCleanup(sandbox.ip, "link", "del", "br1")
        etc = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="ringplug-etc-")))
        # Its file has a fixed place: only this process and what it starts see another /etc.
        shutil.copytree("/etc", etc / "etc", symlinks=True, dirs_exist_ok=True)
        folder = etc / "etc" / "qemu"
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", str(etc / "etc"), "/etc"], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", "/etc"], check=True)
        (folder / "bridge.conf").write_text("allow br1\n")
        with Switch(f"tap?helper={BRIDGE_HELPER}&bridge=br1") as switch:
            port = switch.ports()["tap"]
            self.assertIn("tso", port["detail"])
            name = port["detail"].split()[0]
            members = netns.Here().run("ip", "-j", "link", "show", "master", "br1").stdout
            self.assertIn(name, members)
        self.assertNotIn(name, devices())
        (folder / "bridge.conf").write_text("deny all\n")
        refused = subprocess.run(
            [str(RINGPLUG), "switch", "lan1", f"--uplink=tap?helper={BRIDGE_HELPER}&bridge=br1"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
            env=dict(os.environ, XDG_RUNTIME_DIR=tempfile.gettempdir()))
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, r"access denied.*bridge\.conf")


class Life(unittest.TestCase):
    def test_signals(self):
        """a device that was made goes, whichever way the switch ends; one that was there stays"""
        sandbox.ip("tuntap", "add", "old", "mode", "tap")
        self.addCleanup(sandbox.ip, "link", "del", "old")
        for signum in signal.SIGTERM, signal.SIGKILL:
            with Switch("tap:new", "tap:old") as switch:
                self.assertIn("new", devices())
                switch.process.send_signal(signum)
                switch.process.wait(20)
                self.assertTrue(until(lambda: "new" not in devices()), signum)
                self.assertIn("old", devices())

    def test_deleted_under_load(self):
        """a device that is deleted during a flood is made again, and frames pass"""
        with Switch("tap:t0?address=10.7.0.1/24") as switch:
            flood = subprocess.Popen(["ping", "-f", "-q", "10.7.0.2"], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(qemu.stop, flood)
            for found in range(1, 4):
                sandbox.ip("link", "del", "t0")
                counters = lambda: switch.ports()["tap:t0"]["counters"]
                self.assertTrue(until(lambda: counters()["tap.found"] == found))
                before = counters()["in.frames"]
                self.assertTrue(until(lambda: counters()["in.frames"] > before))
            self.assertTrue(switch.ports()["tap:t0"]["link"])

    def test_idle(self):
        """an idle tap costs no wake-up in 5 s, neither up, nor down, nor gone for good"""
        sandbox.ip("tuntap", "add", "old", "mode", "tap")
        with Switch("tap:old?up=on") as switch:
            for change in (), ("link", "set", "old", "down"):
                if change:
                    sandbox.ip(*change)
                self.assertTrue(any(self._quiet(switch) for _ in range(5)), change)
            sandbox.ip("link", "del", "old")
            self.assertTrue(until(lambda: not switch.ports()["tap:old"]["link"]))
            # It looks for the device again ever more seldom.
            self.assertTrue(any(self._wakeups(switch) < 10 for _ in range(5)))

    def _wakeups(self, switch):
        before = qemu.switches(switch.process.pid, "rp-")
        self.assertTrue(before, "no thread is named rp-...")
        time.sleep(5)
        after = qemu.switches(switch.process.pid, "rp-")
        return sum(after.values()) - sum(before.values())

    def _quiet(self, switch):
        return self._wakeups(switch) == 0


def setup():
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise unittest.SkipTest("no usable /dev/net/tun")
    why = sandbox.enter()
    if why:
        raise unittest.SkipTest(why)
    if os.readlink("/proc/self/ns/user") != os.readlink(f"/proc/{os.getppid()}/ns/user"):
        raise unittest.SkipTest("entering the namespaces of other processes takes root")


if __name__ == "__main__":
    tap.main(setup)
