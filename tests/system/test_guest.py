# SPDX-License-Identifier: BSD-3-Clause
"""test_guest.py - a Linux guest uses the network that slirp mode gives it, in unmodified QEMU."""

import contextlib
import os
import re
import socket
import tempfile
import time
import unittest

import guest
import hosts
import qemu
import sandbox
import tap

MIB = 1 << 20
BULK = 100 * MIB
PAGE = b"a page from the host\n"
BLOB_SIZE = 4 * MIB + 1
NAME4 = "only4.ringplug.test"
METADATA = "169.254.169.254"
NAME = "server.ringplug.test"


class Host:
    """What the guests talk to; set up once, in the private namespace."""

    why_not_private = None
    http = udp = dns = None


def setup():
    tap.note(f"netdev: {qemu.kind()}")
    guest.prepare("e1000", "virtio-net-pci")
    Host.why_not_private = sandbox.enter()
    blob = b"".join(hosts.payload(BLOB_SIZE, "blob"))
    others = []
    if not Host.why_not_private:
        sandbox.ip("address", "add", f"{METADATA}/32", "dev", "lo")
        # Packets go out there and are dropped: nobody answers.
        sandbox.ip("route", "add", "192.0.2.0/24", "dev", "lo")
        others = [METADATA]
    Host.http = hosts.Http({"/page": PAGE, "/blob": blob}, others)
    Host.udp = hosts.udp_echo()
    if not Host.why_not_private:
        Host.dns = hosts.Dns({NAME: ("10.0.2.2", "fec0::2"), NAME4: ("10.0.2.2", None)})


def ringplug_only(case):
    return unittest.skipUnless(qemu.kind() == "ringplug", "not in QEMU's own slirp")(case)


def exchange(sock, data, timeout=10):
    """Sends over a stream, ends it, and returns all that comes back."""
    sock.settimeout(timeout)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    back = b""
    while more := sock.recv(65536):
        back += more
    return back


def udp_ask(address, data, tries=5):
    """Sends a datagram until one comes back; returns it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(address)
        s.settimeout(1)
        for _ in range(tries):
            s.send(data)
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                return s.recv(65536)
    return None


class _Guest(unittest.TestCase):
    """A class with one guest for all its cases."""

    guest = None

    @classmethod
    def diagnostics(cls):
        return cls.guest.diagnostics() if cls.guest else "no guest"

    @classmethod
    def boot(cls, *args, **more):
        cls.guest = guest.Guest(*args, **more)
        cls.addClassCleanup(cls.guest.close)
        cls.guest.start()

    @classmethod
    def directory(cls):
        temporary = tempfile.TemporaryDirectory(prefix="ringplug-test-")
        cls.addClassCleanup(temporary.cleanup)
        return temporary.name

    def wget(self, where, path, seconds=15):
        """Fetches a page in the guest; returns (status, output)."""
        url = f"http://{where}:{Host.http.port}{path}"
        # Not wget's own -T: with it Debian's static busybox 1.35 dies.
        return self.guest.run(f"timeout {seconds} wget -q -O - '{url}' 2>&1", seconds + 10)

    def wait_for_address6(self):
        """Waits for the address that a router advertisement brings; returns it with its length."""
        said = self.guest.ok("for i in $(seq 60); do ip -6 addr show dev eth0 | "
                             "grep -o 'fec0::[^ ]*' && exit 0; sleep 0.5; done; exit 1", 60)
        return said.split()[0]


class _Card(_Guest):
    card = None

    @classmethod
    def setUpClass(cls):
        tcp, udp = hosts.free_port, lambda: hosts.free_port(socket.SOCK_DGRAM)
        directory = cls.directory()
        cls.echo, cls.web, cls.sink, cls.source, cls.any = tcp(), tcp(), tcp(), tcp(), tcp()
        cls.udp_echo, cls.echo6 = udp(), tcp()
        cls.unix_in, unix_out = f"{directory}/in", f"{directory}/out"
        service = hosts.unix_upper(unix_out)
        cls.addClassCleanup(service.close)
        options = [
            ("hostname", "vm1"), ("domainname", "ringplug.test"), ("dnssearch", "a.ringplug.test"),
            ("hostfwd", f"tcp:127.0.0.1:{cls.echo}-:7"),
            ("hostfwd", f"tcp:127.0.0.1:{cls.web}-{guest.ADDRESS4}:80"),
            ("hostfwd", f"tcp:127.0.0.1:{cls.sink}-:9000"),
            ("hostfwd", f"tcp:127.0.0.1:{cls.source}-:9001"),
            ("hostfwd", f"udp:127.0.0.1:{cls.udp_echo}-:7"),
            ("guestfwd", "tcp:10.0.2.100:1234-cmd:cat"),
            ("guestfwd", f"tcp:10.0.2.101:1235-unix:{unix_out}"),
        ]
        if qemu.kind() == "ringplug":
            options += [
                ("hostfwd", f"tcp::{cls.any}-:7"),
                ("hostfwd", f"unix:{cls.unix_in}-:7"),
                ("hostfwd", f"tcp:[::1]:{cls.echo6}-[{guest.ADDRESS6}]:7"),
            ]
        cls.boot(cls.card, options)
        cls.lease = cls.guest.dhcp()
        cls.guest.ok("mkdir -p /www && echo 'a page from the guest' >/www/index.html\n"
                     "httpd -p 80 -h /www\n"
                     "nc -ll -p 7 -e cat </dev/null >/dev/null 2>&1 &\n"
                     "guest_net udp-echo 7 </dev/null >/dev/null 2>&1 &\n"
                     "sleep 1")

    def test_dhcp(self):
        """DHCP gives address, router, resolver and the names that were asked for"""
        self.assertEqual(self.lease["lease"], "10.0.2.15/24")
        self.assertEqual(self.lease["router"], "10.0.2.2")
        self.assertEqual(self.lease["dns"], "10.0.2.3")
        self.assertEqual(self.lease["host"], "vm1")
        self.assertEqual(self.lease["domain"], "ringplug.test")
        self.assertEqual(self.lease["search"], "a.ringplug.test")

    def test_ping_gateway(self):
        """the gateway answers ping"""
        self.assertIn("3 packets received", self.guest.ok("ping -c 3 -i 0.2 -W 5 10.0.2.2"))

    def test_http_to_host(self):
        """HTTP from the guest to 10.0.2.2 reaches the host's loopback"""
        self.assertEqual(self.wget("10.0.2.2", "/page"), (0, PAGE.decode()))

    def test_http_intact(self):
        """4 MiB over HTTP arrive with the right SHA-256"""
        url = f"http://10.0.2.2:{Host.http.port}/blob"
        got = self.guest.ok(f"wget -q -O - {url} | sha256sum", 60).split()[0]
        self.assertEqual(got, hosts.payload_sha256(BLOB_SIZE, "blob"))

    def test_parallel_http(self):
        """twelve connections at once, each intact"""
        url = f"http://10.0.2.2:{Host.http.port}/blob"
        got = self.guest.ok("for i in $(seq 12); do "
                            f"wget -q -O - {url} | head -c 100000 | sha256sum & done; wait", 90)
        self.assertEqual(len(got.split("\n")), 13, got)
        self.assertEqual(len(set(got.split())), 2, got)  # one digest, one '-'

    def test_refused(self):
        """a closed port of the host refuses at once"""
        port = hosts.free_port()
        before = time.monotonic()
        status, output = self.guest.run(f"nc -w 15 10.0.2.2 {port} </dev/null 2>&1", 30)
        self.assertNotEqual(status, 0)
        self.assertIn("refused", output)
        self.assertLess(time.monotonic() - before, 10)

    def test_udp_to_host(self):
        """UDP from the guest and back, small and large"""
        for size in (1, 1400, 8000):
            with self.subTest(size=size):
                got = self.guest.ok(f"guest_net udp-ask 10.0.2.2 {Host.udp.port} 20 {size}", 40)
                self.assertEqual(got, "answered=20 of=20\n")

    def test_hostfwd_tcp(self):
        """hostfwd: the host fetches a page from the guest, and an echo comes back whole"""
        with socket.create_connection(("127.0.0.1", self.web), 10) as s:
            answer = exchange(s, b"GET / HTTP/1.0\r\n\r\n")
        self.assertIn(b"a page from the guest", answer)
        data = b"".join(hosts.payload(200_000, "echo"))
        with socket.create_connection(("127.0.0.1", self.echo), 10) as s:
            s.settimeout(20)
            back = b""
            for at in range(0, len(data), 20_000):
                s.sendall(data[at:at + 20_000])
                while len(back) < at + 20_000 and (more := s.recv(65536)):
                    back += more
        self.assertEqual(back, data)

    def test_hostfwd_udp(self):
        """hostfwd udp: datagrams to the guest and back"""
        for size in (1, 1000, 1400):
            with self.subTest(size=size):
                data = bytes(range(256)) * 6
                self.assertEqual(udp_ask(("127.0.0.1", self.udp_echo), data[:size]), data[:size])

    @ringplug_only
    def test_hostfwd_unix(self):
        """hostfwd unix: a UNIX socket on the host leads to a port in the guest"""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(self.unix_in)
            self.assertEqual(exchange(s, b"through a UNIX socket"), b"through a UNIX socket")

    @ringplug_only
    def test_hostfwd_ipv6(self):
        """hostfwd over IPv6 from ::1 to the guest's address"""
        self.wait_for_address6()
        with socket.create_connection(("::1", self.echo6), 10) as s:
            self.assertEqual(exchange(s, b"over IPv6"), b"over IPv6")

    @ringplug_only
    def test_hostfwd_binds_loopback(self):
        """hostfwd without a host address listens on loopback only"""
        with socket.create_connection(("127.0.0.1", self.any), 10) as s:
            self.assertEqual(exchange(s, b"loopback"), b"loopback")
        listening = 0x0A
        with open(f"/proc/{self.guest.pid}/net/tcp") as table:
            rows = [line.split() for line in list(table)[1:]]
        local = [r[1] for r in rows if int(r[3], 16) == listening
                 and int(r[1].split(":")[1], 16) == self.any]
        self.assertEqual([a.split(":")[0] for a in local], ["0100007F"])

    def test_guestfwd_command(self):
        """guestfwd: an address in the guest's network leads to a command on the host"""
        got = self.guest.ok("guest_net ask 10.0.2.100 1234 one")
        self.assertEqual(got, "one\n")

    def test_guestfwd_unix(self):
        """guestfwd: an address in the guest's network leads to a UNIX socket on the host"""
        got = self.guest.ok("guest_net ask 10.0.2.101 1235 two")
        self.assertEqual(got, "TWO\n")

    def test_ipv6_address(self):
        """IPv6: an address in fec0::/64 and a default route come by router advertisement"""
        self.assertEqual(self.wait_for_address6(), guest.ADDRESS6 + "/64")
        self.assertIn("fe80::2", self.guest.ok("ip -6 route show default"))

    def test_ipv6_ping(self):
        """IPv6: the gateway answers ping"""
        self.wait_for_address6()
        self.assertIn("2 packets received", self.guest.ok("ping6 -c 2 -W 5 fec0::2"))

    def test_ipv6_http(self):
        """IPv6: HTTP to [fec0::2] reaches the host's ::1"""
        self.wait_for_address6()
        self.assertEqual(self.wget("[fec0::2]", "/page"), (0, PAGE.decode()))

    def test_ipv6_udp(self):
        """IPv6: UDP to fec0::2 and back"""
        self.wait_for_address6()
        with hosts.udp_echo("::1") as service:
            got = self.guest.ok(f"guest_net udp-ask fec0::2 {service.port} 10 1200", 40)
        self.assertEqual(got, "answered=10 of=10\n")

    def test_dns(self):
        """DNS: 10.0.2.3 answers from the host's resolver, A, AAAA and no such name"""
        if Host.why_not_private:
            self.skipTest(Host.why_not_private)
        got = self.guest.ok(f"nslookup {NAME} 10.0.2.3")
        self.assertIn("Address: 10.0.2.2", got)
        self.assertIn("Address: fec0::2", got)
        self.assertIn((NAME, 1), Host.dns.asked)
        self.assertIn((NAME, 28), Host.dns.asked)
        status, got = self.guest.run("nslookup nowhere.ringplug.test 10.0.2.3 2>&1")
        self.assertNotEqual(status, 0)
        self.assertIn("NXDOMAIN", got)

    def test_dns_name_used(self):
        """DNS: the guest's own resolver finds a name and HTTP to it works"""
        if Host.why_not_private:
            self.skipTest(Host.why_not_private)
        self.assertEqual(self.wget(NAME4, "/page"), (0, PAGE.decode()))

    def test_syn_to_nowhere(self):
        """many connections that nobody answers leave the others alone"""
        if Host.why_not_private:
            self.skipTest(Host.why_not_private)
        self.guest.ok("for i in $(seq 40); do nc -w 3 192.0.2.$i 81 </dev/null >/dev/null 2>&1 & "
                      "done; wait", 60)
        self.assertEqual(self.wget("10.0.2.2", "/page"), (0, PAGE.decode()))

    def test_zz_poweroff(self):
        """the guest powers off and QEMU ends with 0, saying nothing"""
        self.assertEqual(self.guest.poweroff(), 0)
        self.assertEqual(self.guest.output(), "")


class E1000(_Card):
    card = "e1000"


class VirtioNet(_Card):
    card = "virtio-net-pci"

    def transferred(self, text):
        return re.search(r"bytes=(\d+) ms=(\d+) sha256=(\w+)", text).groups()

    def report(self, way, ms):
        tap.note(f"{BULK // MIB} MiB {way}: {int(ms) / 1000:.1f} s, "
                 f"{BULK * 8 / 1000 / int(ms):.0f} Mbit/s with SHA-256 in the guest")

    def test_bulk_to_host(self):
        """100 MiB from guest to host, SHA-256 equal at both ends"""
        with hosts.TcpSink() as sink:
            text = self.guest.ok(f"guest_net send 10.0.2.2 {sink.port} {BULK}", 150)
            got = sink.result(10)
        size, ms, sha256 = self.transferred(text)
        self.report("to the host", ms)
        self.assertEqual((got.bytes, got.sha256), (BULK, sha256))
        self.assertEqual(int(size), BULK)

    def test_bulk_to_guest(self):
        """100 MiB from host to guest through hostfwd, SHA-256 equal at both ends"""
        self.guest.begin("guest_net sink 9000", 150)
        self.guest.expect("ready\n")
        hosts.send_all(("127.0.0.1", self.sink), hosts.payload(BULK, "bulk"), 120)
        status, text = self.guest.finish()
        size, ms, sha256 = self.transferred(text)
        self.report("to the guest", ms)
        self.assertEqual((status, int(size)), (0, BULK))
        self.assertEqual(sha256, hosts.payload_sha256(BULK, "bulk"))

    def test_bulk_other_roles(self):
        """16 MiB each way with the connection opened from the other side"""
        size = 16 * MIB
        with hosts.TcpSource(size, "roles") as source:
            text = self.guest.ok(f"guest_net recv 10.0.2.2 {source.port}", 60)
        self.assertEqual(self.transferred(text)[2], hosts.payload_sha256(size, "roles"))
        self.guest.begin(f"guest_net source 9001 {size}", 60)
        self.guest.expect("ready\n")
        with socket.create_connection(("127.0.0.1", self.source), 60) as s:
            got = hosts.read_all(s, hosts.Transfer())
        self.assertEqual((got.bytes, got.sha256),
                         (size, self.transferred(self.guest.finish()[1])[2]))


class Hotplug(_Guest):
    """One guest without a card: each case plugs its own in over QMP and takes it out again."""

    rounds = 5

    @classmethod
    def setUpClass(cls):
        cls.boot(None, kernel_of="virtio-net-pci")

    @contextlib.contextmanager
    def plugged(self, *options):
        """A card on a new netdev, seen and up in the guest as eth0."""
        qmp = self.guest.qmp
        qmp.command("netdev_add", **qemu.netdev_qmp("slirp", options, "h0"))
        try:
            qmp.command("device_add", driver="virtio-net-pci", id="card", netdev="h0",
                        mac=guest.MAC, romfile="")
            try:
                self.guest.ok("for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && exit 0; "
                              "usleep 100000; done; exit 1")
                yield
            finally:
                qmp.command("device_del", id="card")
                qmp.event("DEVICE_DELETED", 30, device="card")
        finally:
            qmp.command("netdev_del", id="h0")

    def settled(self, wanted=None):
        """What QEMU holds, once that no longer changes (or is as wanted)."""
        last = None
        for _ in range(50):
            now = qemu.holdings(self.guest.pid)
            if now == (wanted or last):
                break
            last = now
            time.sleep(0.1)
        return now

    def test_add_and_remove(self):
        """netdev_add, use, netdev_del in a loop: descriptors, threads and mappings as before"""
        echo = hosts.free_port()
        start = self.settled()
        rounds = []
        for _ in range(self.rounds):
            with self.plugged(("hostfwd", f"tcp:127.0.0.1:{echo}-:7")):
                self.assertEqual(self.guest.dhcp()["lease"], "10.0.2.15/24")
                self.assertEqual(self.wget("10.0.2.2", "/page"), (0, PAGE.decode()))
            rounds.append(self.settled(rounds[-1] if rounds else None))
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", echo), 5)
        tap.note("descriptors, threads, mappings: " + ", ".join(
            f"{h['fds']} {h['threads']} {h['maps']}" for h in [start, *rounds]))
        for held in rounds:
            self.assertEqual(held["fds"], start["fds"])
            self.assertLessEqual(held["threads"], start["threads"])
            self.assertEqual({f for f in held["files"] if re.search("ringplug|memfd", f)}, set())
            # The first round may load libraries that stay (QEMU's own); later ones may not.
            self.assertEqual(held["files"], rounds[0]["files"])
        # The allocator may keep an area of memory, but not one each round.
        self.assertLess(rounds[-1]["maps"] - rounds[0]["maps"], self.rounds - 1)

    @ringplug_only
    def test_idle(self):
        """an idle guest costs the library's threads no wake-up in 10 s"""
        with self.plugged():
            self.guest.dhcp()
            self.assertEqual(self.wget("10.0.2.2", "/page"), (0, PAGE.decode()))
            # libslirp's 500 ms timer runs while that connection is in TIME_WAIT (10 s), and the
            # guest itself still speaks now and then (ARP, MLD): one quiet window in five will do.
            for _ in range(5):
                before = qemu.switches(self.guest.pid, "rp-")
                self.assertTrue(before, "no thread is named rp-...")
                time.sleep(10)
                after = qemu.switches(self.guest.pid, "rp-")
                woken = {t: after[t] - n for t, n in before.items()}
                if not any(woken.values()):
                    return
        self.fail(f"voluntary context switches in 10 s: {woken}")

    def test_restrict(self):
        """restrict=on: DHCP and forwards work, the host and its resolver are out of reach"""
        echo = hosts.free_port()
        with self.plugged(("restrict", "on"), ("hostfwd", f"tcp:127.0.0.1:{echo}-:7"),
                          ("guestfwd", "tcp:10.0.2.100:1234-cmd:cat")):
            self.guest.dhcp()
            self.guest.ok("nc -l -p 7 -e cat </dev/null >/dev/null 2>&1 & sleep 0.5")
            requests = len(Host.http.requests)
            self.assertNotEqual(self.wget("10.0.2.2", "/page", 4)[0], 0)
            self.wait_for_address6()
            self.assertNotEqual(self.wget("[fec0::2]", "/page", 4)[0], 0)
            self.assertEqual(len(Host.http.requests), requests)
            self.assertEqual(self.guest.ok(f"guest_net udp-ask 10.0.2.2 {Host.udp.port} 2 100"),
                             "answered=0 of=2\n")
            with hosts.udp_echo("::1") as udp6:
                got = self.guest.run(f"guest_net udp-ask fec0::2 {udp6.port} 2 100 2>&1")[1]
            self.assertNotIn("answered=1", got)
            self.assertNotIn("answered=2", got)
            if Host.dns:
                asked = len(Host.dns.asked)
                self.guest.run(f"timeout 4 nslookup {NAME} 10.0.2.3")
                self.assertEqual(len(Host.dns.asked), asked)
            with socket.create_connection(("127.0.0.1", echo), 10) as s:
                self.assertEqual(exchange(s, b"still forwarded"), b"still forwarded")
            self.assertEqual(self.guest.ok("guest_net ask 10.0.2.100 1234 three"), "three\n")

    @ringplug_only
    def test_disable_host_loopback(self):
        """disable-host-loopback: the gateway address does not lead to the host's loopback"""
        with self.plugged(("disable-host-loopback", "on")):
            self.guest.dhcp()
            requests = len(Host.http.requests)
            self.assertNotEqual(self.wget("10.0.2.2", "/page", 4)[0], 0)
            self.assertEqual(len(Host.http.requests), requests)

    def test_loopback_under_its_own_address(self):
        """127.0.0.1 is not reached under its own address (QEMU's slirp lets guests)"""
        wanted = 0 if qemu.kind() == "ringplug" else 1
        with self.plugged():
            self.guest.dhcp()
            # The guest's own kernel must route what it would keep to itself.
            self.guest.ok("echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet\n"
                          "ip addr flush dev lo\n"
                          "ip route add 127.0.0.1 via 10.0.2.2 dev eth0\n")
            try:
                requests = len(Host.http.requests)
                self.wget("127.0.0.1", "/page", 4)
                self.assertEqual(len(Host.http.requests), requests + wanted)
            finally:
                self.guest.ok("ip addr add 127.0.0.1/8 dev lo; ip addr add ::1/128 dev lo")

    def test_link_local(self):
        """169.254.169.254, where clouds keep metadata, is refused unless link-local=on"""
        if Host.why_not_private:
            self.skipTest(Host.why_not_private)
        ours = qemu.kind() == "ringplug"
        for options in [(), (("link-local", "on"),)] if ours else [()]:
            with self.subTest(options=options), self.plugged(*options):
                self.guest.dhcp()
                status, output = self.wget(METADATA, "/page", 4)
                self.assertEqual(status == 0, bool(options) or not ours, output)

    def test_own_network(self):
        """net, host, dns, dhcpstart and ipv6=off move the whole plan"""
        with self.plugged(("net", "192.168.76.0/24"), ("host", "192.168.76.9"),
                          ("dns", "192.168.76.10"), ("dhcpstart", "192.168.76.100"),
                          ("ipv6", "off")):
            lease = self.guest.dhcp()
            self.assertEqual((lease["lease"], lease["router"], lease["dns"]),
                             ("192.168.76.100/24", "192.168.76.9", "192.168.76.10"))
            self.assertEqual(self.wget("192.168.76.9", "/page"), (0, PAGE.decode()))
            self.assertNotIn("fec0", self.guest.ok("sleep 2; ip -6 addr show dev eth0"))

    @ringplug_only
    def test_mtu(self):
        """a guest that asks is told the MTU; packets are no longer than it takes, and intact"""
        for options, told, has in (((), "9000", 9000), ((), "9000", 1500),
                                   ((("mtu", "4000"),), "4000", 4000),
                                   ((("mtu", "1500"),), "", 1500)):
            with self.subTest(options=options, has=has), self.plugged(*options):
                self.assertEqual(self.guest.dhcp()["mtu"], told)
                self.guest.ok(f"ip link set eth0 mtu {has}")
                self.assertIn(f" mtu {has} ", self.guest.ok("ip link show eth0"))
                got = self.guest.ok(
                    f"wget -q -O - http://10.0.2.2:{Host.http.port}/blob | sha256sum", 60)
                self.assertEqual(got.split()[0], hosts.payload_sha256(BLOB_SIZE, "blob"))
                heard = int(self.guest.ok(
                    "cd /sys/class/net/eth0/statistics; echo $(($(cat rx_bytes) / "
                    "$(cat rx_packets)))"))
                self.assertLessEqual(heard, has + 14)
                self.assertGreater(heard, has * 0.8)

    def test_tftp_only_when_asked(self):
        """TFTP serves the folder that was named, nothing outside it, and nothing by default"""
        directory = self.directory()
        data = b"".join(hosts.payload(100_000, "tftp"))
        with open(f"{directory}/file", "wb") as f:
            f.write(data)
        get = "rm -f /tmp/got; timeout 15 tftp -g -r {} -l /tmp/got 10.0.2.2 2>&1"
        with self.plugged(("tftp", directory)):
            self.guest.dhcp()
            self.guest.ok(get.format("/file"))
            self.assertEqual(self.guest.ok("sha256sum </tmp/got").split()[0],
                             hosts.payload_sha256(100_000, "tftp"))
            self.assertNotEqual(self.guest.run(get.format("/../../../etc/hostname"))[0], 0)
        with self.plugged():
            self.guest.dhcp()
            self.assertNotEqual(self.guest.run(get.format("/file"))[0], 0)

    @ringplug_only
    def test_refusals(self):
        """what is wrong with a locator is said by QEMU, and nothing stays open"""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            wrong = [
                ("nosuchmode", {}, "nosuchmode"),
                ("slirp?nosuchkey=1", {}, "nosuchkey"),
                ("slirp?net=10.0.2.0/99", {}, "10.0.2.0/99"),
                ("slirp?restrict=maybe", {}, "maybe"),
                ("slirp?tftp=/no/such/folder", {}, "/no/such/folder"),
                ("slirp?hostfwd=tcp:127.0.0.1:x-:22", {}, "hostfwd"),
                (f"slirp?hostfwd=tcp:127.0.0.1:{port}-:22", {},
                 f"{port} is taken by pid {os.getpid()}"),
                # So it comes in when a comma in a locator was not doubled.
                ("slirp", {"group": "users"}, ",,"),
            ]
            before = self.settled()
            for locator, more, words in wrong:
                with self.subTest(locator=locator, **more):
                    said = len(self.guest.output())
                    with self.assertRaises(qemu.QemuError):
                        self.guest.qmp.command("netdev_add", type="vde", id="bad",
                                               sock=f"ringplug://{locator}", **more)
                    # QMP has only QEMU's own sentence; ours is on its standard error.
                    self.assertIn(words, self.guest.output()[said:])
        after = self.settled()
        self.assertEqual((after["fds"], after["threads"]), (before["fds"], before["threads"]))
        self.assertEqual([f for f in after["files"] if "ringplug" in f], [])

    def test_zz_poweroff(self):
        """QEMU ends with 0 after all that"""
        self.assertEqual(self.guest.poweroff(), 0)


if __name__ == "__main__":
    tap.main(setup)
