# SPDX-License-Identifier: BSD-3-Clause
"""test_netns.py - `ringplug netns` and the netns door, with slirp at the other end."""

import os
import pathlib
import pwd
import re
import signal
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
MIB = 1 << 20
HERE = pathlib.Path(__file__).resolve().parent


def become_nobody():
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)


class _Netns(unittest.TestCase):
    user = staticmethod(lambda: None)

    def run_in(self, locator, *command, options=(), timeout=60):
        return subprocess.run([RINGPLUG, "netns", *options, locator, "--", *command],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, preexec_fn=self.user, cwd="/")

    def ok(self, *arguments, **more):
        done = self.run_in(*arguments, **more)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def python(self, code, locator="slirp", **more):
        """Runs Python code that finds the tests' modules."""
        self.assertIsNone(re.search("^ ", code))
        code = f"import sys\nsys.path.insert(0, {str(self.modules)!r})\n{code}"
        return self.ok(locator, "/usr/bin/python3", "-c", code, timeout=150, **more)

    @classmethod
    def setUpClass(cls):
        # Other users may not look into the tests' own folder.
        temporary = tempfile.TemporaryDirectory(prefix="ringplug-netns-")
        cls.addClassCleanup(temporary.cleanup)
        cls.modules = pathlib.Path(temporary.name)
        os.chmod(cls.modules, 0o755)
        (cls.modules / "hosts.py").write_text((HERE / "hosts.py").read_text())

    def test_configuration(self):
        """address, route and resolver come from the network"""
        text = self.ok("slirp", "sh", "-c",
                       "id -u; ip -4 -br addr show eth0; ip route; cat /etc/resolv.conf")
        self.assertTrue(text.startswith("0\n"), text)
        self.assertIn(" 10.0.2.15/24", text)
        self.assertIn("default via 10.0.2.2 dev eth0", text)
        self.assertIn("nameserver 10.0.2.3\n", text)

    def test_options(self):
        """address, gateway, name server, MTU and name as told"""
        text = self.ok("slirp?mtu=9000", "sh", "-c", "ip addr; ip route; cat /etc/resolv.conf",
                       options=["--address=10.0.2.77/24", "--gateway=10.0.2.2", "--mtu=9000",
                                "--dns=192.0.2.53", "--name=wan0"])
        for words in ("wan0", "mtu 9000", "10.0.2.77/24", "default via 10.0.2.2 dev wan0",
                      "nameserver 192.0.2.53"):
            self.assertIn(words, text)
        before = pathlib.Path("/etc/resolv.conf").read_text()
        self.assertEqual(self.ok("slirp", "cat", "/etc/resolv.conf",
                                 options=["--keep-resolv-conf"]), before)
        self.assertEqual(pathlib.Path("/etc/resolv.conf").read_text(), before)

    def test_bulk(self):
        """100 MiB of TCP each way, offloads on and off, SHA-256 equal at both ends"""
        for mtu in 1500, 65520:
            with self.subTest(mtu), hosts.TcpSink() as sink:
                source = hosts.TcpSource(100 * MIB, "down")
                with source:
                    text = self.python(
                        "import hosts, socket\n"
                        f"hosts.send_all(('10.0.2.2', {sink.port}), hosts.payload({100 * MIB}, 'up'))\n"
                        f"s = socket.create_connection(('10.0.2.2', {source.port}))\n"
                        "s.shutdown(socket.SHUT_WR)\n"
                        "print(hosts.read_all(s, hosts.Transfer()).sha256)\n",
                        locator=f"slirp?mtu={mtu}", options=[f"--mtu={mtu}"])
                    self.assertEqual(sink.result(20).sha256, hosts.payload_sha256(100 * MIB, "up"))
                    self.assertEqual(text.strip(), hosts.payload_sha256(100 * MIB, "down"))

    def test_one_in_another(self):
        """a network inside such a network, and files as they were after all"""
        left = lambda: (pathlib.Path("/tmp/resolv.conf").exists(), os.listdir(self.modules))
        before = left()
        text = self.ok("slirp", RINGPLUG, "netns", "slirp?net=10.0.9.0/24", "--", "sh", "-c",
                       f"cat /etc/resolv.conf; ls {self.modules}")
        self.assertTrue(text.startswith("nameserver 10.0.9.3\n"), text)
        self.assertTrue(text.endswith("\nhosts.py\n"), text)
        self.assertEqual(left(), before)

    def test_exit_codes(self):
        """the command's exit code, and the shell's for what can't be run"""
        for code in 0, 7, 255:
            self.assertEqual(self.run_in("slirp", "sh", "-c", f"exit {code}").returncode, code)
        self.assertEqual(self.run_in("slirp", "sh", "-c", "kill -9 $$").returncode, 137)
        missing = self.run_in("slirp", "/nonesuch")
        self.assertEqual(missing.returncode, 127)
        self.assertIn("can't run '/nonesuch'", missing.stderr)

    def test_wrong_usage(self):
        """mistakes are named, and nothing starts"""
        for code, words, arguments in (
                (2, "unknown scheme", ("nonesuch", "echo", "started")),
                (2, "MTU", ("slirp", "echo", "started")),):
            options = ["--mtu=7"] if words == "MTU" else []
            done = self.run_in(*arguments, options=options)
            self.assertEqual((done.returncode, done.stdout), (code, ""))
            self.assertIn("mtu=7" if words == "MTU" else words, done.stderr)
        for arguments in ([], ["slirp"], ["slirp", "--"], ["--", "true"], ["slirp", "x", "--", "true"]):
            done = subprocess.run([RINGPLUG, "netns", *arguments], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=20, cwd="/")
            self.assertEqual(done.returncode, 2, arguments)

    def test_ends(self):
        """SIGTERM and SIGKILL of ringplug end the command too"""
        for signum in signal.SIGTERM, signal.SIGKILL:
            p = subprocess.Popen([RINGPLUG, "netns", "slirp", "--", "sh", "-c",
                                  "echo $$; exec sleep 1000"], cwd="/",
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                 preexec_fn=self.user)
            self.addCleanup(qemu.stop, p)
            command = int(p.stdout.readline())
            p.send_signal(signum)
            self.assertEqual(p.wait(20), 143 if signum == signal.SIGTERM else -signum)
            p.stdout.close()
            for _ in range(200):
                if not self._runs(command):
                    break
                time.sleep(0.05)
            self.assertFalse(self._runs(command))

    @staticmethod
    def _runs(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False


class AsRoot(_Netns):
    pass


class AsUser(_Netns):
    """the same without any right"""
    user = staticmethod(become_nobody)


class Switch(unittest.TestCase):
    def test_two_namespaces(self):
        """two namespaces on one switch reach each other and the NAT"""
        with tempfile.TemporaryDirectory(prefix="ringplug-") as home, \
                netns.Netns() as one, netns.Netns() as two:
            p = subprocess.Popen(
                qemu.tied([RINGPLUG, "switch", "lan0", "--uplink=slirp", f"--door=netns:{one.pid}",
                           f"--door=netns:{two.pid}?address=10.0.2.50/24&gateway=10.0.2.2"]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                env=dict(os.environ, XDG_RUNTIME_DIR=home))
            self.addCleanup(p.stdout.close)
            self.addCleanup(qemu.stop, p)
            self.assertEqual(p.stdout.readline(), "ready\n")
            for host, target in (one, "10.0.2.50"), (two, "10.0.2.2"), (one, "10.0.2.2"):
                self.assertTrue(any(netns.reaches(host, target) for _ in range(5)), target)
            sent, got = netns.bulk(one, two, "10.0.2.50")
            self.assertEqual(sent, got)
            # Whose process has ended has no port any more.
            show = lambda: subprocess.run([RINGPLUG, "show", "lan0"], capture_output=True, text=True,
                                          env=dict(os.environ, XDG_RUNTIME_DIR=home), check=True,
                                          timeout=20).stdout
            name = f"netns:{one.pid}"
            self.assertIn(name, show())
            one.close()
            for _ in range(200):
                if name not in show():
                    break
                time.sleep(0.05)
            self.assertNotIn(name, show())


def setup():
    why = sandbox.enter_with_tun("entering the namespaces of other processes takes root")
    if why:
        raise unittest.SkipTest(why)


if __name__ == "__main__":
    tap.main(setup)
