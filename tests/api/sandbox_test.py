# SPDX-License-Identifier: BSD-3-Clause
"""sandbox_test.py - processes that serve guests have no rights left, and serve; speaks TAP.

Usage: sandbox_test.py RINGPLUG
"""
import os
import pathlib
import signal
import subprocess
import sys
import urllib.request

from cli import RINGPLUG, accepted, main, test
from switch_home import PATIENCE, Home, eventually

CAP_NET_RAW = 1 << 13
SERVER = ("import http.server, socketserver;"
          "socketserver.TCPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()")


def threads(pid):
    """What /proc says of each thread: a dictionary by key."""
    all_of = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        all_of.append({k: v.strip() for k, v in (line.split(":", 1) for line in lines)})
    assert all_of
    return all_of


def assert_confined(pid, layers, capabilities=0):
    """All threads, in the layers that this build and kernel have; no more than the capabilities."""
    for status in threads(pid):
        assert status["NoNewPrivs"] == "1", status
        assert status["Seccomp"] == ("2" if "seccomp" in layers else "0"), (layers, status)
        for which in "CapEff", "CapPrm", "CapInh", "CapAmb":
            assert int(status[which], 16) & ~capabilities == 0, (which, status)


def may_not_ping():
    """Then a NAT keeps the right to raw sockets, for pings."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ping_group_range").read_text().split())
    return not any(low <= group <= high for group in {os.getegid(), *os.getgroups()})


def for_pings():
    return CAP_NET_RAW if may_not_ping() else 0


@test
def a_switch_keeps_no_right_on_any_thread():
    with Home() as home:
        switch = home.start("lan0", f"--door=vhost-user:{home.path}/vm0", "--door",
                            f"seqpacket:{home.path}/uml")
        layers = home.show("lan0")["sandbox"]
        assert "no-new-privs capabilities" in layers, layers
        assert len(threads(switch.pid)) > 1
        assert_confined(switch.pid, layers)
        assert f"\nsandbox: {layers}\n" in home.show_text("lan0"), home.show_text("lan0")
        assert switch.end() == 0
        # It removes its sockets all the same.
        assert home.left() == [], home.left()
        assert not (home.path / "vm0").exists() and not (home.path / "uml").exists()


@test
def no_sandbox_leaves_everything():
    with Home() as home:
        switch = home.start("lan0", "--uplink=slirp", "--no-sandbox")
        assert home.show("lan0")["sandbox"] == "none"
        ours = {k: v for k, v in threads(os.getpid())[0].items() if k.startswith("Cap")}
        for status in threads(switch.pid):
            assert status["Seccomp"] == threads(os.getpid())[0]["Seccomp"], status
            assert status["NoNewPrivs"] == threads(os.getpid())[0]["NoNewPrivs"], status
            assert {k: status[k] for k in ours}["CapBnd"] == ours["CapBnd"], status
        assert switch.end() == 0


@test
def every_command_that_serves_says_how_to_stay_out():
    for command in "switch", "netns", "vhost-user":
        assert "--no-sandbox" in accepted(command, "--help")


@test
def a_vhost_user_program_is_confined():
    with Home() as home:
        socket = home.path / "vm0"
        p = home.popen("vhost-user", f"--socket-path={socket}", "slirp")
        eventually(socket.exists)
        # The socket is there a little before all is open.
        eventually(lambda: threads(p.pid)[0]["NoNewPrivs"] == "1")
        with_filter = home.start("lan0").home.show("lan0")["sandbox"]
        eventually(lambda: all(s["Seccomp"] == "2" for s in threads(p.pid))
                   or "seccomp" not in with_filter)
        assert_confined(p.pid, with_filter, for_pings())
        p.send_signal(signal.SIGTERM)
        assert p.wait(PATIENCE) == 0, p.communicate()
        assert not socket.exists()


@test
def an_isolated_nat_is_confined_also_when_it_is_started_again():
    with Home() as home:
        switch = home.start("lan0", "--uplink=slirp?isolate=on")

        def nat():
            controls = [p.stem for p in home.sockets.glob("slirp-*.control")]
            return home.show(controls[0]) if controls else None
        assert "landlock" not in home.show("lan0")["sandbox"], "it starts programs"
        first = nat()
        assert_confined(first["pid"], first["sandbox"], for_pings())
        os.kill(first["pid"], signal.SIGKILL)

        def again():
            try:
                second = nat()
            except (AssertionError, ValueError):  # it ends, or starts
                return None
            return second if second and second["pid"] != first["pid"] else None
        eventually(again)
        second = again()
        assert second["sandbox"] == first["sandbox"], second
        assert_confined(second["pid"], second["sandbox"], for_pings())
        assert switch.end() == 0
        eventually(lambda: not list(home.sockets.glob("slirp-*.control")))


@test
def confined_processes_do_dhcp_http_and_hostfwd():
    with Home() as home:
        if home.run("netns", "--no-sandbox", "slirp", "--", "true").returncode != 0:
            return "SKIP `ringplug netns` is not allowed here"
        for uplink in "slirp?", "slirp?isolate=on&":
            switch = home.start("lan0", f"--uplink={uplink}hostfwd=tcp:127.0.0.1:0-:8000",
                                f"--door=vde:{home.path}/vde")
            words = switch.process.stderr.readline().split()
            port = int(words[-1])
            server = home.popen("netns", "switch:lan0", "--", sys.executable, "-c", SERVER,
                                cwd=str(home.path), stdout=subprocess.DEVNULL)
            layers = home.show("lan0")["sandbox"]
            answers = []

            def asked(port=port, answers=answers):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as page:
                        answers.append(page.status)
                except OSError:
                    pass
                return answers == [200]
            eventually(asked)
            assert_confined(switch.pid, layers, ~0 if "isolate" in uplink else 0xffff)
            # The command in the namespace is no part of it, the process that serves it is.
            eventually(lambda pid=server.pid: threads(pid)[0]["NoNewPrivs"] == "1")
            child = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
            assert threads(int(child.split()[0]))[0]["NoNewPrivs"] == "0"
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE)
            assert switch.end() == 0
            assert not (home.path / "vde").exists()
    return None


if __name__ == "__main__":
    assert RINGPLUG
    main()
