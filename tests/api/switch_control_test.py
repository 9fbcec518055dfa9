# SPDX-License-Identifier: BSD-3-Clause
"""switch_control_test.py - `ringplug set`, and vde_switch's management commands; speaks TAP.

Usage: switch_control_test.py RINGPLUG
"""
import contextlib
import errno
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess

from cli import main, test
from switch_home import PATIENCE, Home, eventually

LONGEST_LINE = 4096
PROMPT = b"\nvde$ "
DATA = "0000 DATA END WITH '.'\n"


class Console:
    """A management session."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))  # waits for a place in the queue, as it has no timeout
        self.socket.settimeout(PATIENCE)
        self.greeting = self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self):
        got = b""
        while not got.endswith(PROMPT):
            more = self.socket.recv(65536)
            if not more:
                return got.decode()
            got += more
        return got[:-len(PROMPT)].decode()

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\n")
        return self.read()

    def done(self, command):
        answer = self.ask(command)
        assert answer == "1000 Success\n", (command, answer)

    def told(self, command):
        answer = self.ask(command)
        assert answer.startswith(DATA) and answer.endswith("\n.\n1000 Success\n"), answer
        return answer[len(DATA):-len("\n.\n1000 Success\n")].split("\n")

    def failed(self, command, error):
        answer = self.ask(command)
        assert answer.endswith(f"1{error:03d} {os.strerror(error)}\n"), (command, answer)


@contextlib.contextmanager
def managed(*arguments):
    """A switch with a console: the home, the switch, the console's path."""
    with Home() as home:
        path = home.path / "mgmt"
        yield home, home.start("lan0", f"--mgmt={path}", *arguments), path


def settings(home, number):
    found, = [s for s in home.show("lan0")["settings"] if s["number"] == number] or [{}]
    return {k: v for k, v in found.items() if k != "number"}


@test
def set_changes_a_switch_that_runs():
    with Home() as home:
        switch = home.start("lan0", "--uplink=null?vlan=10&isolated=on")
        assert settings(home, 1)["vlan"] == "10" and settings(home, 1)["isolated"] == "on"
        home.accepted("set", "lan0", "hub=on", "mac-ageing=60", "mac-hold=3", "ports=9")
        assert settings(home, 0) == {"hub": "on", "mac-ageing": "60", "mac-hold": "3",
                                     "loop-guard": "on", "queue": "default", "ports": "9"}
        home.accepted("set", "lan0", "1", "trunk=5,20-30", "static=02:00:00:00:00:01@5",
                      "locked=yes", "isolated=off")
        assert settings(home, 1) == {
            "vlan": "10", "trunk": "5,20-30", "isolated": "off", "locked": "on",
            "static": "02:00:00:00:00:01@5", "user": "any", "group": "any", "allocatable": "on",
            "queue": "default"}
        address, = home.show("lan0")["addresses"]
        assert address["static"] and address["mac"] == "02:00:00:00:00:01", address
        text = home.show_text("lan0")
        for word in "hub=on", "trunk=5,20-30", "locked=on", "static\n":
            assert word in text, text
        home.accepted("set", "lan0", "1", "trunk=-20-29", "trunk=+7", "static=none", "vlan=none")
        assert settings(home, 1)["trunk"] == "5,7,30" and settings(home, 1)["static"] == "none"
        home.accepted("set", "lan0", "1", "vlan=all")
        assert "trunk" not in settings(home, 1)
        assert home.show("lan0")["addresses"] == []
        assert switch.end() == 0


class StuckClient:
    """A VDE client that reads nothing."""

    def __init__(self, path, own, port=0):
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(PATIENCE)
        self.control.connect(f"{path}/ctl")
        self.data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.data.bind(str(own))
        self.control.sendall(struct.pack("=IIIH108s", 0xFEEDFACE, 3, port << 8, socket.AF_UNIX,
                                         str(own).encode()) + own.name.encode())
        self.data.connect(self.control.recv(110)[2:].split(b"\0")[0].decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        self.data.close()


@test
def the_queue_of_a_reader_is_set_while_it_runs():
    with Home() as home, contextlib.ExitStack() as clients:
        path, net = home.path / "mgmt", home.path / "net"
        switch = home.start("lan0", f"--mgmt={path}", "--uplink=null", f"--door=vde:{net}?queue=7")

        def client(name, port=0):
            return clients.enter_context(StuckClient(net, home.path / name, port))

        def ports():
            return {p["name"]: p for p in home.show("lan0")["ports"]}

        def waiting(name):
            """After more frames than the kernel and the queue hold."""
            for _ in range(40):
                for _ in range(25):
                    with contextlib.suppress(BlockingIOError):
                        sender.data.send(b"\xff" * 6 + b"\2\0\0\0\0\1" + bytes(1500),
                                         socket.MSG_DONTWAIT)
                ports()  # time for the switch
            return ports()[name]["counters"]["socket.waiting"]

        sender, _ = client("sender", 9), client("stuck", 5)
        eventually(lambda: "stuck" in ports())
        assert waiting("stuck") == 7
        home.accepted("set", "lan0", "5", "queue=30")
        assert settings(home, 5)["queue"] == "30"
        assert waiting("stuck") == 30
        with Console(path) as console:
            console.done("port/epqlen 5 %d 3" % ports()["stuck"]["port"])
            assert waiting("stuck") == 3
            console.done("port/defqlen 12")
            console.failed("port/defqlen 0", errno.EINVAL)
            console.failed("port/epqlen 5 99 3", errno.ENXIO)
            console.failed("port/epqlen 5", errno.EINVAL)
            # The number of a port without a queue.
            null = ports()["null"]
            console.failed(f"port/epqlen {null['number']} {null['port']} 3", errno.EOPNOTSUPP)
        client("later", 6)
        eventually(lambda: "later" in ports())
        assert waiting("later") == 12
        home.accepted("set", "lan0", "5", "queue=default")
        assert waiting("stuck") == 12
        home.accepted("set", "lan0", "queue=default")
        home.accepted("set", "lan0", "5", "queue=4", "queue=default")
        assert waiting("stuck") == 7
        home.refused(1, ["null", "no queue"], "set", "lan0", str(null["number"]), "queue=3")
        home.refused(1, ["65536"], "set", "lan0", "5", "queue=70000")
        assert switch.end() == 0


@test
def set_refuses_with_a_sentence():
    with Home() as home:
        switch = home.start("lan0", "--uplink=null")
        before = home.show("lan0")["settings"]
        for words, *arguments in (
                (["usage"], "lan0"), (["nothing to set"], "lan0", "1"),
                (["'x'", "port number"], "lan0", "x", "vlan=1"),
                (["'0'", "port number"], "lan0", "0", "vlan=1"),
                (["'vlan'"], "lan0", "vlan"), (["'=5'"], "lan0", "1", "=5")):
            home.refused(2, words, "set", *arguments)
        for words, *arguments in (
                (["no switch 'lan9'"], "lan9", "hub=on"),
                (["unknown option 'colour'", "vlan, trunk"], "1", "colour=red"),
                (["unknown option 'vlan'", "hub"], "vlan=1"),
                (["expected on or off"], "hub=maybe"), (["0 to 4094"], "1", "vlan=4095"),
                (["10,20-30"], "1", "trunk=0"), (["10,20-30"], "1", "trunk=9-5"),
                (["10,20-30"], "1", "trunk=1,"), (["one station"], "1", "static=ff:ff:ff:ff:ff:ff"),
                (["one station"], "1", "static=02:00:00:00:00"), (["no user"], "1", "user=nobody-here"),
                (["numbers go from 1"], "65536", "vlan=1"), (["is above"], "ports=0x"),
                (["65536"], "99999999999", "vlan=1")):
            name = [] if arguments[0].startswith("lan") else ["lan0"]
            if words in (["is above"], ["65536"]):
                r = home.run("set", *name, *arguments)
                assert r.returncode in (1, 2) and r.stderr.count("\n") == 1, r
            else:
                home.refused(1, words, "set", *name, *arguments)
        assert home.show("lan0")["settings"] == before
        assert switch.end() == 0


@test
def vlans_and_ports_as_vde_switch_prints_them():
    with managed("--uplink=null") as (home, switch, path), Console(path) as console:
        assert console.greeting.startswith("ringplug ") and "lan0" in console.greeting
        console.done("port/create 3")
        console.failed("port/create 3", 17)
        assert console.told("port/createauto") == ["Port 0002"]
        console.failed("port/setvlan 3 10", 6)
        console.done("vlan/create 10")
        console.failed("vlan/create 10", 17)
        for bad in "0", "4095", "x", "-1", "":
            console.failed(f"vlan/create {bad}", 22)
        console.done("port/setvlan 3 10")
        console.done("vlan/addport 10 2")
        console.failed("vlan/addport 10 3", 22)
        console.failed("vlan/addport 10 9", 6)
        assert console.told("vlan/print") == ["VLAN 0000",
                                              " -- Port 0001 tagged=0 active=1 status=Forwarding",
                                              "VLAN 0010"]
        assert console.told("vlan/allprint 10") == [
            "VLAN 0010", " -- Port 0002 tagged=1 active=0 status=Forwarding",
            " -- Port 0003 tagged=0 active=0 status=Forwarding"]
        console.failed("vlan/remove 10", 98)
        console.done("vlan/delport 10 2")
        console.failed("vlan/delport 10 2", 6)
        console.failed("port/remove 1", 98)
        console.failed("port/remove 8", 6)
        console.done("port/remove 3")
        console.done("vlan/remove 10")
        console.failed("vlan/print 10", 6)
        lines = console.told("port/print")
        assert lines[0] == "Port 0001 untagged_vlan=0000 ACTIVE - Unnamed Allocatable", lines
        assert lines[1] == " Current User: NONE Access Control: (User: NONE - Group: NONE)"
        assert lines[2].split() == ["IN:", "pkts", "0", "bytes", "0"], lines
        assert lines[4].startswith("  -- endpoint ID ") and lines[4].endswith(": null"), lines
        console.done("port/setuser 2 root")
        console.done("port/setgroup 2 root")
        lines = console.told("port/allprint 2")
        assert lines[:2] == ["Port 0002 untagged_vlan=0000 INACTIVE - NOT Unnamed Allocatable",
                             " Current User: NONE Access Control: (User: root - Group: root)"]
        console.done("port/setuser 2 NONE")
        assert settings(home, 2)["user"] == "any"
        console.failed("port/epclose 1 77", 6)
        assert [p["number"] for p in home.show("lan0")["ports"]][:1] == [1]
        console.done("port/epclose 1 " + str(home.show("lan0")["ports"][0]["port"]))
        assert "null" not in home.show_text("lan0")
        assert switch.end() == 0 and not path.exists()


@test
def what_there_is_not_is_refused():
    with managed() as (_, switch, path), Console(path) as console:
        for command in "bogus", "port", "port/", "PORT/PRINT", "x" * 4000:
            console.failed(command, 38)
        for command in ("hash/setsize 256", "hash/setgcint 2", "fstp/setfstp 1", "plugin/add x.so",
                        "debug/add port", "fstp/bonus 0 1 5"):
            console.failed(command, 95)
        for command in ("port/setvlan", "port/sethub", "port/sethub 2", "hash/setexpire",
                        "hash/setexpire x", "hash/setminper -1", "port/setnumports 0", "load"):
            console.failed(command, 22)
        console.failed("load /nonexistent", 2)
        console.failed("hash/find 02:00:00:00:00:01", 19)
        console.done("fstp/setfstp 0")
        assert console.told("fstp/showinfo") == ["FSTP=false"]
        assert console.ask("") == "" and console.ask("# a comment") == ""
        assert switch.end() == 0


@test
def the_switch_is_told_and_set():
    with managed() as (home, switch, path), Console(path) as console:
        console.done("port/sethub 1")
        console.done("hash/setexpire 50")
        console.done("hash/setminper 2")
        console.done("port/setnumports 40")
        assert console.told("port/showinfo") == ["Numports=40", "HUB=true", "counters=true"]
        assert console.told("hash/showinfo")[1:] == ["GC expire 50 secs",
                                                     "Min persistence 2 secs"]
        assert settings(home, 0) == {"hub": "on", "mac-ageing": "50", "mac-hold": "2",
                                     "loop-guard": "on", "queue": "default", "ports": "40"}
        console.done("port/create 1")
        home.accepted("set", "lan0", "1", "static=02:00:00:00:00:01")
        info = console.told("showinfo")
        assert info[1].startswith(f"pid {switch.pid} uptime ") and str(path) in info[2], info
        assert console.told("ds/showinfo") == ["door switch:lan0"]
        assert len(console.told("help")) > 40
        assert [line.split()[0] for line in console.told("help vlan")[2:]] == [
            f"vlan/{c}" for c in ("create", "remove", "addport", "delport", "print", "allprint")]
        assert console.ask("logout") == "9999 END OF SESSION"
        with Console(path) as other:
            other.ask("shutdown")
        assert switch.process.wait(PATIENCE) == 0


@test
def rc_files_run():
    with Home() as home:
        rc = home.path / "rc"
        rc.write_text("# VLANs of the laboratory\nport/create 2\nvlan/create 7\n\nport/setvlan 2 7\n")
        switch = home.start("lan0", f"--rcfile={rc}")
        assert settings(home, 2)["vlan"] == "7"
        assert switch.end() == 0
        rc.write_text("port/create 2\nport/setvlan 2 8\n")
        home.refused(1, [str(rc), "line 2"], "switch", "lan1", f"--rcfile={rc}")
        home.refused(1, ["/nonexistent", "No such file"], "switch", "lan1", "--rcfile=/nonexistent")
        rc.write_text(f"load {rc}\n")
        home.refused(1, [str(rc), "line 1"], "switch", "lan1", f"--rcfile={rc}")
        path = home.path / "mgmt"
        switch = home.start("lan0", f"--mgmt={path}")
        rc.write_text("port/create 5\n")
        with Console(path) as console:
            console.done(f"load {rc}")
            console.failed(f"load {rc}", 22)
        assert settings(home, 5)["allocatable"] == "off"
        assert switch.end() == 0


@test
def a_path_in_use_is_refused_and_a_stale_one_replaced():
    with managed() as (home, switch, path):
        home.refused(1, ["management socket", str(switch.pid)], "switch", "lan1", f"--mgmt={path}")
        with Console(path) as console:
            console.told("showinfo")
        switch.end(signal.SIGKILL)
        second = home.start("lan1", f"--mgmt={path}")
        with Console(path) as console:
            assert "lan1" in console.greeting
        assert second.end() == 0
        path.write_text("mine")
        home.refused(2, ["management socket", "no socket"], "switch", "lan1", f"--mgmt={path}")
        assert path.read_text() == "mine"


@test
def T_VDE_4_consoles_that_misbehave_disturb_nobody():
    with managed("--uplink=null") as (_, switch, path), contextlib.ExitStack() as crowd:
        fds = len(os.listdir(f"/proc/{switch.pid}/fd"))
        with Console(path) as long:
            long.socket.sendall(b"x" * (16 * LONGEST_LINE))  # no newline
            assert closed(long.socket)
        with Console(path) as binary:
            binary.socket.sendall(bytes(range(256)) + b"\n")
            assert "1038" in binary.read()
        with Console(path) as deaf:
            # Asks and never reads: it is not read from any more.
            deaf.socket.settimeout(1)
            with contextlib.suppress(OSError):
                for _ in range(100000):
                    deaf.socket.sendall(b"help\n" * 100)
            with Console(path) as other:
                other.told("showinfo")
        for _ in range(1000):
            s = crowd.enter_context(socket.socket(socket.AF_UNIX))
            s.connect(str(path))
        with Console(path) as other:
            other.told("showinfo")
        crowd.close()
        eventually(lambda: len(os.listdir(f"/proc/{switch.pid}/fd")) == fds)
        memory = resident(switch.pid)
        assert memory < 64 << 20, memory
        assert switch.end() == 0


def closed(s):
    s.settimeout(PATIENCE)
    with contextlib.suppress(ConnectionResetError):
        while s.recv(65536):
            pass
    return True


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@test
def vdeterm_runs():
    vdeterm = shutil.which("vdeterm")
    if not vdeterm:
        return "SKIP the package vde2 is not installed"
    with managed("--uplink=null") as (_, switch, path):
        master, slave = pty.openpty()
        p = subprocess.Popen([vdeterm, str(path)], stdin=slave, stdout=slave, stderr=slave,
                             close_fds=True, start_new_session=True)
        os.close(slave)
        seen = b""
        try:
            # It takes what is typed once it has greeted.
            for wanted, typed in (b"vde[", b"port/print\n"), (b"Success", b""):
                while wanted not in seen:
                    assert select.select([master], [], [], PATIENCE)[0], seen
                    seen += os.read(master, 65536)
                os.write(master, typed)
            assert b"Port 0001 untagged_vlan=0000" in seen, seen
        finally:
            p.kill()
            p.wait()
            os.close(master)
        assert switch.end() == 0
    return None


if __name__ == "__main__":
    main()
