# SPDX-License-Identifier: BSD-3-Clause
"""soak.py - random guests come to one switch, talk, misbehave and go, for as long as was asked.

Usage: soak.py [--qemu] RINGPLUG LIBRARY [SECONDS [SEED]]

Guests come in by every door: plugs, VDE, streams, SOCK_SEQPACKET, vhost-user, and network namespaces
where the rights suffice; with --qemu there is a Linux in QEMU, too. In each round they all talk at
once, some without reading; meanwhile visitors come and go by doors of their own, which are locked:
they hear what is flooded, may say nothing, and say nonsense. Then all is quiet, and the books have to
agree, exactly:

  - the frames that came in at a port are those that its guest sent, and those that went out are those
    that it got, with what was counted as unsent;
  - over all guests, each frame in went out as often as it had to, or was counted as dropped.

Some guests go then, at once or with frames under way, and others come. Memory and descriptors of the
switch are looked at when everybody has gone, after a warm-up and at the end. Speaks TAP, of one
test.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import guests
import vhost_user

NAME = "soak"
MOST_GROWTH = 1 << 20
VHOST_DOORS = 3
# What a frame that came in may be counted as instead of going out.
IN_DROPS = ("runt", "oversize", "bad-source", "bad-offload", "reserved-address", "vlan", "locked",
            "isolated", "same-port", "loop")


class Switch:
    def __init__(self, stack, ringplug, namespaces, more_doors):
        self.ringplug = ringplug
        self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ringplug-soak-"))
        os.environ["XDG_RUNTIME_DIR"] = self.folder
        at = self.at
        doors = [f"vde:{at('vde')}", f"stream:{at('stream')}", f"seqpacket:{at('bare')}"]
        doors += [f"vhost-user:{at(f'vm{i}')}" for i in range(VHOST_DOORS)]
        doors += [f"vde:{at('vde-visitors')}?locked=on", f"stream:{at('visitors')}?locked=on",
                  f"vhost-user:{at('vm-visitors')}?locked=on"]
        doors += [f"vhost-user:{at(d)}" for d in more_doors]
        command = [ringplug, "switch", NAME] + [f"--door={d}" for d in doors]
        command += [f"--uplink=netns:{pid}?dhcp=off&offload=off" for pid in namespaces]
        # Large buffers that were freed go back at once; else the allocator keeps 2 MiB or more at will,
        # and no growth could be told from that.
        environment = dict(os.environ, GLIBC_TUNABLES="glibc.malloc.mmap_threshold=131072")
        self.log = stack.enter_context(tempfile.TemporaryFile("w+"))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, env=environment)
        stack.callback(self.end)
        if self.process.stdout.readline() != "ready\n":
            self.log.seek(0)
            raise AssertionError("the switch did not start: " + self.log.read())

    def at(self, name):
        return f"{self.folder}/{name}"

    def show(self):
        shown = subprocess.run([self.ringplug, "show", "--json", NAME], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=guests.PATIENCE, check=False)
        assert shown.returncode == 0, f"the switch is gone: {shown.stderr}"
        return json.loads(shown.stdout)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """Its own: a page of a guest's counts for whoever has touched it."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) << 10
        raise AssertionError("no RssAnon")

    def guests_memories(self):
        with open(f"/proc/{self.process.pid}/maps", encoding="utf-8") as f:
            return sum("memfd:" in line for line in f)

    def end(self):
        self.process.terminate()
        status = self.process.wait(guests.PATIENCE)
        self.process.stdout.close()
        return status


class Visitor:
    """Somebody who comes by a locked door, and is no guest."""

    def __init__(self, rng, switch):
        self.sockets, self.folder = [], tempfile.TemporaryDirectory(prefix="soak-")
        kind = rng.randrange(5)
        if kind == 0:  # joins, and hears what is flooded
            self.keep = guests.Vde(rng.randbytes(6), switch.at("vde-visitors"))
        elif kind == 1:
            self.keep = guests.Stream(rng.randbytes(6), switch.at("visitors"))
        else:
            self.keep = None
            path = {2: "vde-visitors/ctl", 3: "visitors", 4: "vm-visitors"}[kind]
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            self.sockets.append(s)
            with contextlib.suppress(OSError):  # a vhost-user door lets in one after the other
                s.connect(switch.at(path))
                s.send(self.nonsense(rng, kind))
        self.rng = rng

    def nonsense(self, rng, kind):
        if kind == 2:
            whole = guests.request(f"{self.folder.name}/s")
        elif kind == 3:
            whole = struct.pack("!I", rng.choice((60, 70000, 0xffffffff))) + rng.randbytes(100)
        else:
            whole = struct.pack("<III", rng.randrange(45), 1, rng.choice((0, 8, 40, 5000)))
            whole += rng.randbytes(rng.randrange(50))
        return whole[:rng.randrange(1, len(whole) + 1)]

    def turn(self):
        if self.keep and self.rng.random() < 0.5:
            with contextlib.suppress(OSError):
                self.keep.send(self.keep.frame(guests.BROADCAST, 60))
                self.keep.receive()

    def leave(self):
        if self.keep:
            self.keep.leave()
        for s in self.sockets:
            s.close()
        self.folder.cleanup()


class Soak:
    def __init__(self, stack, ringplug, seed, with_qemu):
        self.rng = random.Random(seed)
        self.namespaces = make_namespaces(stack)
        self.switch = Switch(stack, ringplug, self.namespaces, ["qemu"] if with_qemu else [])
        self.next_mac = 0
        self.guests, self.visitors, self.vhost_doors, self.bases = [], [], {}, {}
        self.qemu = None
        self.fixed = [guests.Namespace(self.new_mac(), pid) for pid in self.namespaces]
        for g in self.fixed:
            stack.callback(g.leave)
        if with_qemu:
            import qemu_guest  # pylint: disable=import-outside-toplevel
            self.qemu = qemu_guest.QemuGuest(stack, self.new_mac(), self.switch.at("qemu"))
            self.fixed.append(self.qemu)
        self.frames = self.came = self.visits = self.rounds = self.drops = 0
        stack.callback(self.all_leave)

    def new_mac(self):
        self.next_mac += 1
        return b"\x02\0" + struct.pack("!I", self.next_mac)

    # Coming and going.

    def come(self):
        kind = self.rng.randrange(5)
        at, mac = self.switch.at, self.new_mac()
        free = [i for i in range(VHOST_DOORS) if i not in self.vhost_doors.values()]
        if kind == 0:
            g = guests.Vde(mac, at("vde"))
        elif kind == 1:
            g = guests.Stream(mac, at("stream"))
        elif kind == 2:
            g = guests.Bare(mac, at("bare"))
        elif kind == 3 and free:
            door = at(f"vm{free[0]}")
            # The door is the port, and goes on counting.
            self.bases[mac] = next(p["counters"] for p in self.switch.show()["ports"]
                                   if p["name"].endswith(door))
            g = vhost_user.FrontEnd(mac, door)
            self.vhost_doors[g] = free[0]
        else:
            g = guests.Plug(mac, NAME)
        self.guests.append(g)
        self.came += 1

    def go(self, g, rudely=False):
        """Rudely: with frames under way."""
        if rudely:
            for _ in range(self.rng.randrange(100)):
                g.send(g.frame(guests.BROADCAST, self.rng.randrange(60, 1500)))
        self.guests.remove(g)
        g.leave()
        self.vhost_doors.pop(g, None)

    def all_leave(self):
        for v in self.visitors:
            v.leave()
        self.visitors = []
        for g in list(self.guests):
            self.go(g)

    def everybody(self):
        return self.guests + self.fixed

    # What is known of the switch.

    def ports(self, shown):
        """Of each guest, its port; found by the address that it said hello with."""
        where = {a["mac"]: a["port"] for a in shown["addresses"]}
        ports = {p["port"]: p for p in shown["ports"]}
        return {g: ports.get(where.get(guests.text_of(g.mac))) for g in self.everybody()}

    def settle(self):
        """Until all has been said, forwarded and heard; returns what the switch shows then."""
        end = time.monotonic() + guests.PATIENCE
        before = None
        while True:
            quiet = not any([g.receive() for g in self.everybody()])
            quiet &= all([g.settled() for g in self.everybody()])
            if quiet:
                shown = self.switch.show()
                after = [p["counters"] for p in shown["ports"]]
                if after == before and all(self.agrees(g, p, False)
                                           for g, p in self.ports(shown).items() if p):
                    return shown
                before = after
            if time.monotonic() > end:
                return self.switch.show()
            time.sleep(0.002)

    def agrees(self, g, port, said=True):
        base = self.bases.get(g.mac, {})
        c = {k: v - base.get(k, 0) for k, v in port["counters"].items()}
        into, out = c["in.frames"] + c.get("drop.truncated", 0), c["out.frames"]
        lost = sum(c.get(k, 0) for k in ("drop.unsent", "tap.refused", "tap.while-down"))
        right = into == g.says_sent() and out == g.says_got() + lost
        if said and not right:
            raise AssertionError(f"{type(g).__name__} sent {g.says_sent()}, {into} came in; "
                                 f"got {g.says_got()}, {out} went out, {lost} of them lost: {c}")
        return right

    # Rounds.

    def hello(self):
        """Each guest's address is learned, and nothing else is under way."""
        for g in self.everybody():
            guests.eventually(g.hello, "a guest can't say hello")
            guests.eventually(
                lambda: all([e.settled() or e.receive() for e in self.everybody()]), "hello")

        def known():
            for g in self.everybody():
                g.receive()
            return all(self.ports(self.switch.show()).values())
        guests.eventually(known, "a guest's address was not learned")
        return self.settle()

    def any_frame(self, g):
        rng = self.rng
        what = rng.random()
        size = rng.choice((60, rng.randrange(60, 1515), 1514))
        if what < 0.01:
            return rng.randbytes(rng.randrange(1, 14))  # a runt
        if what < 0.02:
            return rng.randbytes(6) + b"\x01" + rng.randbytes(53)  # from a group
        if what < 0.03:
            return b"\x01\x80\xc2\0\0\x0e" + g.mac + bytes(46)  # stays on its link
        if what < 0.04:
            return g.frame(g.mac, size)  # to itself
        if what < 0.10:
            return g.frame(guests.BROADCAST, size)
        if what < 0.12:
            return g.frame(b"\x02\xff" + rng.randbytes(4), size)  # to nobody
        return g.frame(rng.choice(self.everybody()).mac, size)

    def talk(self, seconds):
        rng = self.rng
        deaf = {g for g in self.everybody() if rng.random() < 0.15}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            g = rng.choice(self.everybody())
            for _ in range(rng.randrange(1, 64)):
                g.send(self.any_frame(g))
            for g in self.everybody():
                if g not in deaf or rng.random() < 0.002:
                    g.receive()
            self.visit()

    def visit(self):
        rng = self.rng
        if rng.random() < 0.2 and len(self.visitors) < 8:
            self.visitors.append(Visitor(rng, self.switch))
            self.visits += 1
        for v in list(self.visitors):
            v.turn()
            if rng.random() < 0.1:
                self.visitors.remove(v)
                v.leave()

    def round(self, seconds):
        rng = self.rng
        while len(self.guests) < 4 or (len(self.guests) < 14 and rng.random() < 0.7):
            self.come()
        before = self.ports(self.hello())
        self.talk(seconds)
        after = self.ports(self.settle())
        self.balance(before, after)
        for g in list(self.guests):
            if rng.random() < 0.3:
                self.go(g, rng.random() < 0.5)
        self.rounds += 1

    def balance(self, before, after):
        due = made = 0
        for g, port in after.items():
            assert port, f"the port of a {type(g).__name__} is gone"
            self.agrees(g, port)
            was = before[g]["counters"]
            new = {k: v - was.get(k, 0) for k, v in port["counters"].items()}
            flooded, nowhere = new["in.flooded"], new["drop.nowhere"]
            dropped = sum(new["drop." + d] for d in IN_DROPS)
            due += new["in.frames"] - dropped - nowhere - flooded
            due += flooded * (len(after) - 1)
            made += new["out.frames"] + new["out.coalesced"] + new["drop.queue-full"]
            made += new["drop.segmentation"]
            self.frames += new["in.frames"]
            self.drops += dropped + new["drop.queue-full"]
        assert due == made, f"{due} frames had to go out; {made} did, or were dropped"

    def told(self):
        return (f"{self.rounds} rounds, {self.frames} frames in, {self.drops} dropped, "
                f"{self.came} guests came, {self.visits} visitors")

    def empty(self):
        """Everybody has gone: memory and descriptors."""
        self.all_leave()
        guests.eventually(
            lambda: sum(p["link"] for p in self.switch.show()["ports"]) == len(self.fixed),
            "ports of guests that have gone")
        time.sleep(0.5)
        return self.switch.memory(), self.switch.descriptors(), self.switch.guests_memories()


def make_namespaces(stack):
    """Processes that keep a namespace each; none where the rights don't suffice."""
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        return []
    own, pids = os.readlink("/proc/self/ns/net"), []
    for _ in range(2):
        # Without IPv6 the kernel in there says nothing by itself.
        p = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6\n"
             "exec 2>&-; echo ready; exec sleep 100000"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stack.callback(lambda p=p: (p.kill(), p.wait(), p.stdout.close()))
        if p.stdout.readline() != "ready\n" or os.readlink(f"/proc/{p.pid}/ns/net") == own:
            return []
        pids.append(p.pid)
    return pids


def main():
    with_qemu = "--qemu" in sys.argv
    words = [a for a in sys.argv[1:] if a != "--qemu"]
    ringplug, library = (os.path.abspath(p) for p in words[:2])
    seconds = float(words[2]) if len(words) > 2 else 600.0
    seed = int(words[3]) if len(words) > 3 else random.randrange(1 << 32)
    guests.Plug.library = ctypes.CDLL(library)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"# seed {seed}", flush=True)
    with contextlib.ExitStack() as stack:
        soak = Soak(stack, ringplug, seed, with_qemu)
        print(f"# {len(soak.namespaces)} network namespaces beside the others"
              f"{', and QEMU' if with_qemu else ''}", flush=True)
        start = time.monotonic()
        passed = lambda: time.monotonic() - start
        warm, said = None, 0.0
        while passed() < seconds or warm is None:
            soak.round(min(2.0, seconds / 10))
            if warm is None and (passed() > min(30.0, seconds / 2)):
                warm = soak.empty()
                print(f"# warm after {passed():.0f} s: {warm[0] >> 10} KiB, {warm[1]} descriptors",
                      flush=True)
            if passed() - said >= 60:
                said = passed()
                print(f"# {said:.0f} s: {soak.told()}; {soak.empty()[0] >> 10} KiB", flush=True)
        memory, descriptors, guests_memories = soak.empty()
        print(f"# {passed():.0f} s: {soak.told()}; {memory >> 10} KiB, {descriptors} descriptors",
              flush=True)
        assert descriptors == warm[1], f"{descriptors} descriptors, {warm[1]} after the warm-up"
        assert guests_memories == warm[2], f"{guests_memories} of guests' memories are mapped"
        grown = memory - warm[0]
        assert grown < MOST_GROWTH, f"grew by {grown >> 10} KiB since the warm-up"
        assert soak.switch.process.poll() is None
        if soak.qemu:
            sent, got, _ = soak.qemu.look()
            print(f"# QEMU: {got} frames came, {sent} went back", flush=True)
            assert min(sent, got) > 10 * seconds, "the guest in QEMU took no part"


if __name__ == "__main__":
    print("1..1", flush=True)
    try:
        main()
        print("ok 1 - soak")
    except Exception as error:  # pylint: disable=broad-except
        print(f"not ok 1 - soak\n# {type(error).__name__}: {error}".rstrip())
        raise SystemExit(1) from error
