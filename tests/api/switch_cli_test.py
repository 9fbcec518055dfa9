# SPDX-License-Identifier: BSD-3-Clause
"""switch_cli_test.py - `ringplug switch`, `show` and `vhost-user` as processes; speaks TAP.

Usage: switch_cli_test.py RINGPLUG MANIFEST

Each test has a folder of its own for sockets. Whatever it starts is ended by its pid.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

from cli import RINGPLUG, accepted, main, refused, run, test
from switch_home import PATIENCE, Home, eventually

MANIFEST = sys.argv[2]
# Of the control socket: LineServer's patience and clients.
ANSWER_PATIENCE = 10
MOST_CLIENTS = 64
# What `ringplug switch lan0` has while it runs.
SOCKETS = ["lan0.control", "lan0.plug"]


def connected(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))  # waits for a place in the queue, which it would not with a timeout
    s.settimeout(PATIENCE)
    return s


def said(path, request):
    """The object that answers the bytes."""
    with connected(path) as s:
        s.sendall(request)
        return json.loads(everything(s))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def everything(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data


# ---- ringplug switch

@test
def says_ready_and_ends_cleanly():
    for by in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        with Home() as home:
            switch = home.start("lan0", "--uplink", "slirp", "--uplink=null")
            assert home.left() == SOCKETS, home.left()
            assert all(s.stat().st_mode & 0o777 == 0o600 for s in home.sockets.iterdir())
            assert home.sockets.stat().st_mode & 0o777 == 0o700
            assert switch.end(by) == 0, by
            assert switch.process.communicate() == ("", "")
            assert home.left() == [], home.left()


@test
def needs_no_locators():
    with Home() as home:
        switch = home.start("empty")
        assert [p["name"] for p in home.show("empty")["ports"]] == ["switch:empty"]
        assert switch.end() == 0


@test
def takes_the_options_of_vde_switch():
    with Home() as home:
        folder = home.path / "a?b"
        home.start("lan0", "-s", folder, "-m", "0660", "--dirmode=0710", "-g", str(os.getgid()),
                   "--hub", "-n", "40")
        assert (folder / "ctl").stat().st_mode & 0o777 == 0o660
        assert folder.stat().st_mode & 0o777 == 0o710
        settings = home.show_text("lan0")
        assert "hub=on" in settings and "ports=40" in settings, settings
        home.refused(2, ["--mode=0660", "--sock", "vde:PATH?mode=0660"], "switch", "lan1",
                     "-m", "0660")
        home.refused(2, ["ports=0", "65535"], "switch", "lan1", "--numports=0")
        home.refused(2, ["'a/b'", "tap"], "switch", "lan1", "--tap=a/b")
        home.refused(2, ["--on-demand"], "switch", "lan1", "--on-demand", "-x")
        home.refused(2, ["--fstp", "--help"], "switch", "lan1", "--fstp")


@test
def a_path_alone_is_told_what_comes_before_it():
    with Home() as home:
        home.refused(2, ["'/tmp/x'", "vde:", "vhost-user:"], "switch", "lan0", "--door=/tmp/x")


@test
def ready_fd():
    with Home() as home:
        r, w = os.pipe()
        p = home.popen("switch", "lan0", f"--ready-fd={w}", pass_fds=[w])
        os.close(w)
        with open(r, "rb") as reader:
            assert reader.read() == b"ready\n"  # to its end: the descriptor was closed
            assert p.stdout.readline() == "ready\n"
        p.terminate()
        assert p.wait(PATIENCE) == 0


@test
def ready_fd_ends_without_a_word_on_failure():
    with Home() as home:
        r, w = os.pipe()
        p = home.popen("switch", "lan0", "--uplink=nothing", f"--ready-fd={w}", pass_fds=[w])
        os.close(w)
        with open(r, "rb") as reader:
            assert reader.read() == b""
        assert p.wait(PATIENCE) == 2
        assert home.left() == []


@test
def ready_fd_must_be_one():
    with Home() as home:
        home.refused(2, ["--ready-fd=999", "Bad file"], "switch", "lan0", "--ready-fd=999")
        for n in "0", "2", "-1":
            home.refused(2, [f"--ready-fd={n}", "at least 3"], "switch", "lan0", "--ready-fd", n)


@test
def a_reader_who_left_is_an_error():
    with Home() as home:
        r, w = os.pipe()
        os.close(r)
        p = home.popen("switch", "lan0", stdout=w)
        os.close(w)
        assert p.wait(PATIENCE) == 1, p.returncode
        assert "Broken pipe" in p.stderr.read()
        assert home.left() == []


@test
def closed_standard_descriptors_are_no_sockets():
    with Home() as home:
        p = home.popen(args=["sh", "-c", f"exec {RINGPLUG} switch lan0 <&- >&- 2>&-"])
        assert p.wait(PATIENCE) == 1, p.returncode
        assert home.left() == []


@test
def ignored_hangups_stay_ignored():
    with Home() as home:
        p = home.popen(args=["sh", "-c", f"trap '' HUP; exec {RINGPLUG} switch lan0"])
        assert p.stdout.readline() == "ready\n"
        p.send_signal(signal.SIGHUP)
        assert home.show("lan0")["pid"] == p.pid
        p.terminate()
        assert p.wait(PATIENCE) == 0


@test
def names():
    with Home() as home:
        for bad in "", ".", "..", ".x", "a/b", "a b", "ä", "x" * 65:
            home.refused(2, [f"'{bad}'", "letters, digits"], "switch", bad)
            home.refused(2, [f"'{bad}'", "letters, digits"], "show", bad)
        for good in "a", "A.b_c-9", "_", "x" * 40:
            assert home.start(good).end() == 0
        home.refused(2, ["no name"], "switch")
        home.refused(2, ["'lan1'", "--uplink"], "switch", "lan0", "lan1")


@test
def wrong_locators_and_numbers():
    with Home() as home:
        for option in "--uplink", "--door":
            home.refused(2, ["'slurp'", "slirp"], "switch", "lan0", option, "slurp")
            home.refused(2, ["'hostfw'", "hostfwd"], "switch", "lan0", option, "slirp?hostfw=x")
        home.refused(2, ["'slurp'"], "switch", "lan0", "--uplink=null", "--door=slurp")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            home.refused(1, [str(port), f"pid {os.getpid()}"], "switch", "lan0",
                         f"--uplink=slirp?hostfwd=tcp:127.0.0.1:{port}-:22")
        home.refused(2, ["--poll-us=-5"], "switch", "lan0", "--poll-us=-5")
        home.refused(2, ["--mac-ageing=0"], "switch", "lan0", "--mac-ageing=0")
        home.refused(2, ["--mac-entries=0"], "switch", "lan0", "--mac-entries=0")
        home.refused(2, ["1048576"], "switch", "lan0", "--mac-entries=2000000")
        home.refused(2, ["--poll-us"], "switch", "lan0", "--poll-us=x")
        assert home.left() == [], home.left()
        switch = home.start("lan0", "--poll-us=0", "--mac-entries=1048576", "--mac-ageing=1")
        assert switch.end() == 0


@test
def a_live_switch_is_never_replaced():
    with Home() as home:
        switch = home.start("lan0")
        home.refused(1, ["'lan0' runs already", f"process {switch.pid}"], "switch", "lan0")
        assert home.show("lan0")["pid"] == switch.pid
        os.kill(switch.pid, signal.SIGSTOP)  # one that does not answer lives as well
        home.refused(1, ["'lan0' runs already"], "switch", "lan0")
        os.kill(switch.pid, signal.SIGCONT)
        other = home.start("lan1")
        assert other.end() == 0 and switch.end() == 0


@test
def whoever_listens_there_is_never_replaced():
    with Home() as home:
        home.sockets.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(home.control("lan0")))
            s.listen()
            home.refused(1, [f"process {os.getpid()}"], "switch", "lan0")
            assert home.left() == ["lan0.control"]
        home.control("lan0").unlink()
        home.control("lan0").write_text("precious")
        home.refused(2, ["no socket"], "switch", "lan0")
        assert home.control("lan0").read_text() == "precious"


@test
def a_killed_one_is_replaced():
    with Home() as home:
        for _ in range(3):
            switch = home.start("lan0", "--uplink=null")
            assert switch.end(signal.SIGKILL) == -signal.SIGKILL
            assert home.left() == SOCKETS
            home.refused(1, ["'lan0'", "`ringplug switch lan0`"], "show", "lan0")
        switch = home.start("lan0")
        assert home.show("lan0")["pid"] == switch.pid
        assert switch.end() == 0 and home.left() == []


@test
def of_many_starters_one_wins():
    with Home() as home:
        for _ in range(4):
            starters = [home.popen("switch", "lan0") for _ in range(6)]
            first = [p.stdout.readline() for p in starters]
            assert first.count("ready\n") == 1, first
            winner = starters[first.index("ready\n")]
            for p in starters:
                if p is not winner:
                    assert p.wait(PATIENCE) == 1
                    assert f"process {winner.pid}" in p.stderr.read()
            winner.kill()  # the next round starts on a dead one's socket
            winner.wait()


@test
def a_socket_that_is_no_longer_its_own_stays():
    with Home() as home:
        switch = home.start("lan0")
        home.control("lan0").unlink()
        home.control("lan0").write_text("somebody else's")
        assert switch.end() == 0
        assert home.left() == ["lan0.control"]


@test
def runtime_directory_of_others():
    with Home() as home:
        home.sockets.mkdir(mode=0o700)
        home.sockets.chmod(0o750)
        for command in "switch", "show":
            home.refused(1, [str(home.sockets), "chmod 700"], command, "lan0")
        home.sockets.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(home.sockets, 12345, -1)
            for command in "switch", "show":
                home.refused(1, ["belongs to user 12345"], command, "lan0")
        home.sockets.rmdir()
        (home.path / "real").mkdir(mode=0o700)
        home.sockets.symlink_to("real")
        for command in "switch", "show":
            home.refused(1, ["not a directory"], command, "lan0")
        home.sockets.unlink()
    refused(1, ["/nonexistent"], "switch", "lan0", XDG_RUNTIME_DIR="/nonexistent")


# ---- ringplug show

def knock(switch):
    """Connects to the switch's forward: the NAT asks all ports for the guest, which is nowhere."""
    line = switch.process.stderr.readline()
    port = int(re.search(r"listens on port (\d+)", line).group(1))
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


@test
def shows_frames_and_addresses():
    with Home() as home:
        switch = home.start("lan0", "--uplink=slirp?hostfwd=tcp:127.0.0.1:0-:22",
                            "--uplink=slirp?net=10.0.3.0/24", "--uplink=null")
        with knock(switch):
            eventually(lambda: home.show("lan0")["addresses"])
            shown = home.show("lan0")
            text = home.show_text("lan0")
        assert shown["name"] == "lan0" and shown["pid"] == switch.pid, shown
        assert shown["uptime"] < 3600 and shown["addresses_omitted"] == 0, shown
        assert accepted("--version") == f"ringplug {shown['version']}\n"
        nat, other, null, door = shown["ports"]
        assert [p["name"] for p in shown["ports"]] == ["slirp", "slirp", "null", "switch:lan0"]
        assert all(p["link"] is True and p["detail"] == "" for p in (nat, other, null)), shown
        assert door["link"] is False and door["detail"], door
        assert nat["counters"]["in.frames"] == nat["counters"]["in.flooded"] >= 1, nat
        assert nat["counters"]["in.bytes"] >= 42, nat
        assert null["counters"]["out.frames"] == nat["counters"]["in.frames"], null
        assert other["counters"]["refused.source-mac"] >= 1, other  # the gateway is no guest's
        assert other["counters"]["drop.queue-full"] == 0, other
        address, = shown["addresses"]
        assert address["mac"] == "52:55:0a:00:02:02", address
        assert (address["vlan"], address["port"], address["port_name"]) == (0, nat["port"], "slirp")
        assert 0 <= address["age"] < 300, address
        check_text(text, switch.pid, door["detail"])
        assert switch.end() == 0


def check_text(text, pid, detail):
    lines = text.splitlines()
    assert lines[0].startswith(f"lan0: pid {pid}, up 0:0"), text
    head = lines.index(next(line for line in lines if line.startswith("PORT ")))
    rows = [line for line in lines[head + 1:] if re.match(r" *[-\d]+  ", line)]
    assert [row.split()[1:3] for row in rows] == [["slirp", "up"], ["slirp", "up"], ["null", "up"],
                                               ["switch:lan0", "down"]], text
    # Numbers end where their titles end.
    for title in "IN FRAMES", "OUT BYTES":
        end = lines[head].index(title) + len(title)
        assert all(row[end - 1].isdigit() and row[end:end + 1] in ("", " ") for row in rows), text
    # What was agreed stands below its port, then other counters, unless they are zero.
    assert lines[lines.index(rows[-1]) + 1].strip() == detail, text
    assert "in.flooded=" in lines[head + 2] and "refused.source-mac=" in text, text
    assert "drop.queue-full" not in text, text
    assert re.search(r"^52:55:0a:00:02:02 +0  slirp \(1\) +\d+ s$", text, re.MULTILINE), text
    assert max(map(len, lines)) <= 100, text


@test
def switches_join_by_name():
    with Home() as home:
        first = home.start("lan0", "--uplink=slirp?hostfwd=tcp:127.0.0.1:0-:22")
        second = home.start("lan1", "--uplink=switch:lan0")
        eventually(lambda: home.show("lan1")["ports"][0]["link"])
        with knock(first):
            eventually(lambda: home.show("lan1")["addresses"])
        address, = home.show("lan1")["addresses"]
        assert address["mac"] == "52:55:0a:00:02:02", address
        assert address["port_name"] == "switch:lan0", address
        plug = home.show("lan0")["ports"][-1]
        assert plug["link"] and plug["counters"]["out.frames"] >= 1 and plug["detail"], plug
        text = home.show_text("lan0")
        assert max(map(len, text.splitlines())) <= 100, text
        assert second.end() == 0
        eventually(lambda: len(home.show("lan0")["ports"]) == 2)
        assert first.end() == 0 and home.left() == []
        home.refused(2, ["switch:lan0", "itself"], "switch", "lan0", "--uplink=switch:lan0")


@test
def shows_what_runs_without_a_name():
    with Home() as home:
        env = {"XDG_RUNTIME_DIR": str(home.path)}
        assert "ringplug switch NAME" in home.show_text()
        assert json.loads(accepted("show", "--json", **env)) == []
        first = home.start("lan0", "--uplink=null")
        assert f"lan0: pid {first.pid}" in home.show_text()
        second = home.start("b")
        third = home.start("dead")
        third.end(signal.SIGKILL)
        lines = home.show_text().splitlines()
        assert lines[0].split() == ["NAME", "PID", "UP", "PORTS"], lines
        assert [line.split()[:2] for line in lines[1:]] == [["b", str(second.pid)],
                                                            ["lan0", str(first.pid)]], lines
        shown = json.loads(accepted("show", "--json", **env))
        assert [s["name"] for s in shown] == ["b", "lan0"], shown
        assert shown[1] == {**home.show("lan0"), "uptime": shown[1]["uptime"]}
        assert first.end() == second.end() == 0


@test
def shows_nothing_of_what_is_not_there():
    with Home() as home:
        home.refused(1, ["'lan0'", "`ringplug switch lan0`"], "show", "lan0")
        home.refused(1, ["'lan0'", "`ringplug switch lan0`"], "show", "--json", "lan0")
        home.refused(2, ["'lan1'"], "show", "lan0", "lan1")


@contextlib.contextmanager
def impostor(home, *replies):
    """Something else that answers at the place of a switch, one reply a connection."""
    home.sockets.mkdir(mode=0o700, exist_ok=True)
    child = os.fork()
    if child == 0:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(home.control("lan0")))
            s.listen()
            for reply in replies:
                c = s.accept()[0]
                c.recv(4096)
                with contextlib.suppress(OSError):
                    c.sendall(reply)
                if not reply:
                    time.sleep(PATIENCE)
                c.close()
        os._exit(0)
    try:
        eventually(home.control("lan0").exists)
        time.sleep(0.1)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@test
def show_trusts_no_answer():
    replies = [b"garbage\n", b"[1]\n", b'{"error":"no\x1b[2J"}\n', b"\xff\xfe\n",
               b'{"ports":7,"addresses":[[]],"name":3}\n',
               b'{"ports":[{"name":"a\\u001b[2J\\nb","counters":{"x":"y"}}]}\n']
    with Home() as home, impostor(home, *replies):
        for words in ["lan0"], ["no JSON object"], ["says: no"], ["UTF-8"]:
            r = run("show", "lan0", XDG_RUNTIME_DIR=str(home.path))
            assert r.returncode == 1 and all(w in r.stderr for w in words), (words, r.stderr)
            assert "\x1b" not in r.stderr, r.stderr
        assert "pid 0" in home.show_text("lan0")
        text = home.show_text("lan0")
        assert "a?[2J?b" in text and "\x1b" not in text, text


@test
def show_does_not_wait_for_ever():
    with Home() as home, impostor(home, b""):
        home.refused(1, ["'lan0' does not answer", "too long"], "show", "lan0")


# ---- The control socket and its abuse

SHOW = b'{"command":"show"}\n'


@test
def control_answers_one_line_for_one_line():
    with Home() as home:
        switch = home.start("lan0", "--uplink=null")
        control = home.control("lan0")
        with connected(control) as s:
            for byte in SHOW:
                s.sendall(bytes([byte]))
            line = everything(s)
        assert line.endswith(b"\n") and line.count(b"\n") == 1, line
        assert json.loads(line)["name"] == "lan0"
        assert said(control, SHOW + SHOW)["name"] == "lan0"
        assert said(control, b'{"command":"show","later":[1]}\n')["name"] == "lan0"
        for request in b'{"command":"stop"}\n', b"{}\n", b'{"command":7}\n', b'{"command":null}\n':
            assert "accepted: set, show" in said(control, request)["error"]
        for request in (b"\n", b"show\n", b"[]\n", b"{\n", b"\xff\xff\n", b"\0\n", b'{"a":\x80}\n',
                        b"[" * 4000 + b"\n"):
            assert "request" in said(control, request)["error"], request
        assert switch.end() == 0


@test
def control_takes_no_endless_line():
    with Home() as home:
        switch = home.start("lan0")
        with connected(home.control("lan0")) as s:
            with contextlib.suppress(OSError):
                s.sendall(b'{"command":"' + b"a" * 65536)
            with contextlib.suppress(OSError):
                assert "error" in json.loads(everything(s))
        assert home.show("lan0")["pid"] == switch.pid
        assert switch.end() == 0


@test
def control_survives_clients_that_leave():
    with Home() as home:
        switch = home.start("lan0", *["--uplink=null"] * 50)
        for request in b"", b"{", SHOW:
            for _ in range(50):
                with connected(home.control("lan0")) as s:
                    s.sendall(request)
        assert home.show("lan0")["pid"] == switch.pid
        assert switch.end() == 0


@test
def control_survives_a_thousand_idle_clients():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with Home() as home, contextlib.ExitStack() as clients:
        switch = home.start("lan0", "--uplink=slirp?hostfwd=tcp:127.0.0.1:0-:22", "--uplink=null")
        before = descriptors(switch.pid)
        for _ in range(1000):
            clients.enter_context(connected(home.control("lan0")))
        held = descriptors(switch.pid) - before
        assert held <= MOST_CLIENTS + 1, held  # one is let in before the oldest goes
        with knock(switch):
            eventually(lambda: home.show("lan0")["addresses"])
        assert switch.end() == 0


@test
def control_hangs_up_on_the_silent_and_the_deaf():
    with Home() as home:
        # The answer is longer than what the kernel takes for a reader that does not read.
        switch = home.start("lan0", *["--uplink=null"] * 1500)
        before = descriptors(switch.pid)
        start = time.monotonic()
        with connected(home.control("lan0")) as silent, connected(home.control("lan0")) as deaf:
            deaf.sendall(SHOW)
            assert len(home.show("lan0")["ports"]) == 1501
            assert silent.recv(1) == b""
            assert time.monotonic() - start >= ANSWER_PATIENCE - 1
            eventually(lambda: descriptors(switch.pid) <= before)
            assert not everything(deaf).endswith(b"\n"), "it was all sent"
        assert switch.end() == 0


@test
def a_switch_that_nobody_runs_is_started_and_ends_with_its_last_visitor():
    with Home() as home:
        crowd = [home.popen("switch", f"lan{n}", "--uplink=switch:hall") for n in range(1, 7)]
        for p in crowd:
            assert p.stdout.readline() == "ready\n", p.communicate()
        hall = home.show("hall")["pid"]
        assert hall not in [p.pid for p in crowd]
        plugs = {p["name"] for p in home.show("hall")["ports"]} - {"switch:hall"}
        assert plugs == {f"plug:{p.pid}" for p in crowd}, plugs
        # It is nobody's child, and holds nothing of whoever started it.
        with open(f"/proc/{hall}/stat", encoding="ascii") as stat:
            _, parent, _, session = stat.read().rsplit(")", 1)[1].split()[:4]
        parent, session = int(parent), int(session)
        assert parent not in [p.pid for p in crowd] and session == hall, (parent, session)
        for p in crowd[:-1]:
            p.kill()
            p.wait()
        eventually(lambda: len(home.show("hall")["ports"]) == 2)
        assert home.show("hall")["pid"] == hall
        crowd[-1].terminate()
        assert crowd[-1].wait(PATIENCE) == 0
        eventually(lambda: not pathlib.Path(f"/proc/{hall}").exists())
        eventually(lambda: not any(name.startswith("hall") for name in home.left()))


def gone(pid):
    return not pathlib.Path(f"/proc/{pid}").exists()


def linked(home, *names):
    """Whether the first port of each of these switches has its link."""
    return all(home.show(n)["ports"][0]["link"] for n in names)


def stays_away(home, name):
    """Longer than a plug takes to look for its switch a few times."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert home.run("show", name).returncode != 0, f"{name} runs"
        time.sleep(0.1)


@test
def a_killed_switch_that_was_started_for_its_plugs_is_started_again_once():
    with Home() as home:
        names = [f"lan{n}" for n in range(1, 7)]
        crowd = [home.start(n, "--uplink=switch:hall") for n in names[:-1]]
        crowd.append(home.start(names[-1], "--uplink=switch:hall?start=off"))
        for _ in range(3):
            hall = home.show("hall")["pid"]
            os.kill(hall, signal.SIGKILL)
            eventually(lambda: gone(hall))
            eventually(lambda: home.run("show", "hall").returncode == 0 and linked(home, *names))
            plugs = {p["name"] for p in home.show("hall")["ports"]} - {"switch:hall"}
            assert plugs == {f"plug:{p.pid}" for p in crowd}, plugs
        hall = home.show("hall")["pid"]
        for switch in crowd:
            assert switch.end() == 0
        eventually(lambda: gone(hall))
        eventually(lambda: home.left() == [])


@test
def plugs_start_no_switch_that_was_ended_or_is_someone_elses():
    with Home() as home:
        one = home.start("lan1", "--uplink=switch:hall")
        # It was told to end.
        hall = home.show("hall")["pid"]
        os.kill(hall, signal.SIGTERM)
        eventually(lambda: gone(hall))
        stays_away(home, "hall")
        # Somebody asks for it anew: the others join again.
        two = home.start("lan2", "--uplink=switch:hall")
        eventually(lambda: linked(home, "lan1", "lan2"))
        # start=off starts nothing, not even what was killed.
        three = home.start("lan3", "--uplink=switch:hall?start=off")
        assert one.end() == 0 and two.end() == 0
        hall = home.show("hall")["pid"]
        os.kill(hall, signal.SIGKILL)
        eventually(lambda: gone(hall))
        stays_away(home, "hall")
        assert three.end() == 0
        # Whoever started it by hand starts it again, with what only they know.
        mine = home.start("hall", "--uplink=null")
        four = home.start("lan4", "--uplink=switch:hall")
        mine.end(signal.SIGKILL)
        stays_away(home, "hall")
        mine = home.start("hall", "--uplink=null")
        eventually(lambda: linked(home, "lan4"))
        assert four.end() == 0 and mine.end() == 0
        home.refused(2, ["--on-demand"], "switch", "hall", "--on-demand", "--uplink=null")


@test
def an_isolated_nat_comes_back_when_it_dies():
    with Home() as home:
        switch = home.start("lan0", "--uplink=slirp?isolate=on&net=10.9.0.0/24&isolated=on")
        nat, = [name.removesuffix(".control") for name in home.left()
                if name.startswith("slirp-") and name.endswith(".control")]
        first = home.show(nat)
        assert first["ports"][0]["name"] == "slirp" and first["pid"] != switch.pid, first
        with open(f"/proc/{first['pid']}/cmdline", encoding="ascii") as line:
            assert "--uplink=slirp?net=10.9.0.0/24" in line.read().split("\0")
        eventually(lambda: home.show("lan0")["ports"][0]["link"])
        os.kill(first["pid"], signal.SIGKILL)
        eventually(lambda: f'"pid" : {first["pid"]}' not in home.run("show", "--json", nat).stdout
                   and home.run("show", nat).returncode == 0
                   and home.show("lan0")["ports"][0]["link"])
        second = home.show(nat)["pid"]
        assert switch.end() == 0
        eventually(lambda: not pathlib.Path(f"/proc/{second}").exists())
        eventually(lambda: home.left() == [])
        home.refused(2, ["isolate=maybe", "on or off"], "switch", "lan0",
                     "--uplink=slirp?isolate=maybe")
        home.refused(2, ["net=x"], "switch", "lan0", "--uplink=slirp?isolate=on&net=x")
        assert not any(name.startswith("slirp-") for name in home.left())


@test
def one_off_ends_when_nobody_comes():
    with Home() as home:
        p = home.popen("switch", "lan0", "--one-off", "--uplink=null")
        assert p.stdout.readline() == "ready\n"
        assert p.wait(PATIENCE) == 0 and home.left() == []


@test
def what_keeps_a_switch_from_starting_is_told():
    with Home() as home:
        home.sockets.mkdir(mode=0o700)
        (home.sockets / "hall.plug").mkdir()
        home.refused(1, ["starting switch 'hall'", "hall.plug"],
                     "switch", "lan1", "--uplink=switch:hall")


@test
def another_switch_joins_by_name():
    with Home() as home:
        home.refused(1, ["no switch 'lan0' runs", "ringplug switch lan0"],
                     "switch", "lan1", "--uplink=switch:lan0?start=off")
        one = home.start("lan0")
        two = home.start("lan1", "--uplink=switch:lan0")

        def uplink():
            port = home.show("lan1")["ports"][0]
            return port["name"], port["link"], port["detail"]
        assert uplink() == ("switch:lan0", True, "linked"), uplink()
        names = [p["name"] for p in home.show("lan0")["ports"]]
        assert names == ["switch:lan0", f"plug:{two.pid}"], names
        one.end(signal.SIGKILL)
        eventually(lambda: uplink() == ("switch:lan0", False, "waiting"))
        one = home.start("lan0")
        eventually(lambda: uplink() == ("switch:lan0", True, "linked"))
        assert two.end() == 0
        eventually(lambda: len(home.show("lan0")["ports"]) == 1)
        assert one.end() == 0


@test
def control_waits_without_descriptors():
    with Home() as home:
        p = home.popen(args=["sh", "-c", f"ulimit -n 32; exec {RINGPLUG} switch lan0"])
        assert p.stdout.readline() == "ready\n"
        with contextlib.ExitStack() as clients:
            for _ in range(60):
                clients.enter_context(connected(home.control("lan0")))
            assert home.show("lan0")["pid"] == p.pid
        p.terminate()
        assert p.wait(PATIENCE) == 0


# ---- ringplug vhost-user

@test
def capabilities_whatever_else_is_said():
    for others in [], ["--fd=7", "--socket-path=/x"], ["--unknown", "a", "b"]:
        for arguments in [*others, "--print-capabilities"], ["--print-capabilities", *others]:
            assert json.loads(accepted("vhost-user", *arguments)) == {"type": "net"}


@test
def the_manifest_names_the_program():
    manifest = json.loads(pathlib.Path(MANIFEST).read_text())
    assert manifest["type"] == "net" and manifest["description"], manifest
    assert all(isinstance(tag, str) for tag in manifest["tags"]), manifest
    binary = pathlib.Path(manifest["binary"])
    assert binary.is_absolute() and binary.name == "ringplug-vhost-user", manifest
    # By that name the program is that command.
    r = subprocess.run([binary.name, "--print-capabilities"], executable=RINGPLUG, text=True,
                       stdout=subprocess.PIPE, timeout=PATIENCE, check=True)
    assert json.loads(r.stdout) == {"type": "net"}
    r = subprocess.run(["ringplug-nothing"], executable=RINGPLUG, text=True,
                       stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert r.returncode == 2 and "'nothing'" in r.stderr, r


@test
def vhost_user_wants_one_socket_and_one_uplink():
    refused(2, ["--socket-path", "--fd"], "vhost-user")
    refused(2, ["--socket-path", "--fd"], "vhost-user", "--socket-path=/x", "--fd=3")
    refused(2, ["--fd=-1"], "vhost-user", "--fd=-1")
    refused(2, ["'null'", "--uplink=slirp"], "vhost-user", "--fd=3", "--uplink=slirp", "null")
    refused(2, ["'slirp'"], "vhost-user", "--fd=3", "null", "slirp")
    refused(2, ["'slurp'"], "vhost-user", "--fd=3", "slurp")


@test
def every_door_listens_when_ready():
    with Home() as home:
        doors = [home.path / f"vm{n}.sock" for n in range(3)]
        switch = home.start("lan0", *(f"--door=vhost-user:{d}" for d in doors))
        for door in doors:
            connected(door).close()
        ports = home.show("lan0")["ports"]
        assert [p["name"] for p in ports[:3]] == [f"vhost-user:{d}" for d in doors], ports
        # A live door is nobody else's; the dead one's is whoever's comes next.
        taken = f"--door=vhost-user:{doors[1]}"
        home.refused(1, [f"process {switch.pid}", str(doors[1])], "switch", "lan1", taken)
        home.refused(1, [str(doors[1])], "switch", "lan1", taken + "?queues=1")
        home.refused(1, [f"{doors[1]}.state"], "switch", "lan1",
                     f"--door=vhost-user:{home.path}/other?queues=1&state={doors[1]}.state")
        assert home.left() == SOCKETS
        assert (home.path / "vm1.sock.state").exists(), "the live door's state was removed"
        connected(doors[1]).close()
        assert switch.end(signal.SIGKILL) == -signal.SIGKILL, "it had died before"
        assert all(d.is_socket() for d in doors)
        assert home.start("lan1", taken).end() == 0
        assert [d.exists() for d in doors] == [True, False, True]


@test
def vhost_user_serves_a_socket_it_was_given():
    ours, theirs = socket.socketpair()
    with Home() as home, ours:
        p = home.popen("vhost-user", f"--fd={theirs.fileno()}", "null", pass_fds=[theirs.fileno()])
        theirs.close()
        ours.settimeout(PATIENCE)
        ours.sendall(struct.pack("<III", 1, 1, 0))  # VHOST_USER_GET_FEATURES
        request, flags, size = struct.unpack("<III", ours.recv(12))
        assert (request, flags & 7, size) == (1, 5, 8), (request, flags, size)
        p.terminate()
        assert p.wait(PATIENCE) == 0


@test
def vhost_user_listens_until_sigterm():
    with Home() as home:
        path = home.path / "a b%41?c&d.sock"
        p = home.popen("vhost-user", f"--socket-path={path}", "null")
        eventually(path.is_socket)
        p.terminate()
        assert p.wait(PATIENCE) == 0, p.stderr.read()
        assert not path.exists()


main()
