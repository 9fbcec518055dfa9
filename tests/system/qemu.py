# SPDX-License-Identifier: BSD-3-Clause
"""qemu.py - starts QEMU on a network of ours or of its own, and always ends it."""

import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("RINGPLUG_BUILD", "build")).resolve()
PLUGIN = BUILD / "api" / "libvdeplug_ringplug.so"
PLUGIN_DIR = PLUGIN.parent
QEMU = "qemu-system-x86_64"


class QemuError(Exception):
    """QEMU, or what runs in it, did not do as it should; the text holds what it printed."""


def kind():
    """'ringplug' or 'user' (QEMU's own slirp): RINGPLUG_NETDEV, else as the plugin is built."""
    asked = os.environ.get("RINGPLUG_NETDEV")
    if asked not in (None, "ringplug", "user"):
        raise QemuError(f"RINGPLUG_NETDEV={asked}: must be ringplug or user")
    need = asked == "ringplug" or os.environ.get("RINGPLUG_REQUIRE") == "1"
    if need and not PLUGIN.exists():
        raise QemuError(f"{PLUGIN} is not built")
    return asked or ("ringplug" if PLUGIN.exists() else "user")


def locator(mode, options=()):
    """The ringplug locator of a mode with a list of (key, value)."""
    # What separates fields in the query, and QEMU's comma, go as %XX.
    query = "&".join(f"{k}={urllib.parse.quote(v, safe=':/[]-.=')}" for k, v in options)
    return mode + ("?" + query if query else "")


def netdev(mode, options=(), name="n0", on=None):
    """The argument of -netdev for a mode with a list of (key, value)."""
    if (on or kind()) == "ringplug":
        return f"vde,id={name},sock=ringplug://{locator(mode, options)}"
    assert mode == "slirp"
    return ",".join([f"user,id={name}"] + [f"{k}={v.replace(',', ',,')}" for k, v in options])


def netdev_qmp(mode, options=(), name="n0", on=None):
    """The arguments of QMP's netdev_add for the same."""
    if (on or kind()) == "ringplug":
        return {"type": "vde", "id": name, "sock": "ringplug://" + locator(mode, options)}
    args = {"type": "user", "id": name}
    for key, value in options:
        if key in ("hostfwd", "guestfwd"):
            args.setdefault(key, []).append({"str": value})
        elif key in ("restrict", "ipv4", "ipv6"):
            args[key] = value == "on"
        else:
            args[key] = value
    return args


def environment():
    """This process's environment, with the build tree's plugin before libvdeplug's own."""
    own = [str(d) for d in pathlib.Path("/usr/lib").glob("*/vdeplug")]
    return dict(os.environ, VDEPLUGIN_PATH=":".join([str(PLUGIN_DIR), *own]), LC_ALL="C.UTF-8")


def tied(command):
    """The command as a child that dies with this process, whatever ends it."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def stop(process, patience=5):
    """Ends our own child and reaps it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def holdings(pid):
    """What a process holds: {'fds': n, 'threads': n, 'files': {mapped file: count}, 'maps': n}."""
    files, lines = {}, 0
    with open(f"/proc/{pid}/maps") as maps:
        for lines, line in enumerate(maps, 1):
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith("/"):
                name = fields[5].strip()
                files[name] = files.get(name, 0) + 1
    return {"fds": len(os.listdir(f"/proc/{pid}/fd")), "maps": lines, "files": files,
            "threads": len(os.listdir(f"/proc/{pid}/task"))}


def switches(pid, prefix):
    """Voluntary context switches of the process's threads whose name starts so: {thread: count}."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(prefix):
            status = (task / "status").read_text()
            found[task.name] = int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return found


class Qmp:
    """QMP over a connected socket."""

    def __init__(self, sock):
        self._socket = sock
        self._buffer = b""
        self._events = []
        self._message(10)  # the greeting
        self.command("qmp_capabilities")

    def _message(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._socket.recv(65536)
            if not data:
                raise QemuError("QMP: QEMU closed the connection")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, timeout=20, **arguments):
        """Runs a command and returns what it returns; raises QemuError with QEMU's sentence."""
        request = {"execute": name, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self._message(timeout)
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                raise QemuError(f"QMP {name}: {message['error']['desc']}")
            elif "return" in message:
                return message["return"]

    def event(self, name, timeout=20, **data):
        """Waits for an event whose data holds these values."""
        deadline = time.monotonic() + timeout
        while True:
            for message in self._events:
                got = message.get("data", {})
                if message["event"] == name and data.items() <= got.items():
                    self._events.remove(message)
                    return got
            message = self._message(max(0.01, deadline - time.monotonic()))
            if "event" in message:
                self._events.append(message)


class Qemu:
    """One QEMU with TCG, no devices but those asked for, its console in a file.

    With `agent`, the second serial port is the socket of that name here.
    """

    def __init__(self, *args, machine="pc", memory=256, agent=False):
        self._stack = contextlib.ExitStack()
        self._args = args
        self._machine, self._memory, self._with_agent = machine, memory, agent
        self.process = self.qmp = self.agent = self.command = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _channel(self, name):
        """A chardev on one end of a socket pair; returns (ours, theirs)."""
        ours, theirs = socket.socketpair()
        self._stack.callback(ours.close)
        args = ["-chardev", f"socket,id={name},fd={theirs.fileno()}"]
        return ours, theirs, args

    def _start(self):
        directory = pathlib.Path(self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ringplug-qemu-")))
        self._console = directory / "console"
        self._stderr = directory / "stderr"
        qmp, qmp_end, qmp_args = self._channel("qmp")
        ends = [qmp_end]
        command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-accel", "tcg", "-M", f"{self._machine},graphics=off",
                   "-cpu", "max", "-m", str(self._memory),
                   "-chardev", f"file,id=console,path={self._console}",
                   "-serial", "chardev:console", *qmp_args, "-mon", "chardev=qmp,mode=control"]
        if self._with_agent:
            self.agent, end, agent_args = self._channel("agent")
            ends.append(end)
            command += [*agent_args, "-serial", "chardev:agent"]
        self.command = [*command, *self._args]
        with open(self._stderr, "wb") as stderr:
            self.process = subprocess.Popen(
                tied(self.command), stdin=subprocess.DEVNULL, stdout=stderr,
                stderr=stderr, env=environment(), pass_fds=[e.fileno() for e in ends])
        self._stack.callback(stop, self.process)
        for end in ends:
            end.close()
        try:
            self.qmp = Qmp(qmp)
        except (OSError, QemuError):
            raise QemuError(f"QEMU did not start:\n{self.output()}") from None

    @property
    def pid(self):
        return self.process.pid

    def console(self):
        with contextlib.suppress(OSError):
            return self._console.read_text(errors="replace")
        return ""

    def output(self):
        """What QEMU itself printed."""
        with contextlib.suppress(OSError):
            return self._stderr.read_text(errors="replace")
        return ""

    def diagnostics(self):
        console = self.console().splitlines()[-30:]
        return "\n".join(["QEMU printed:", self.output(), "end of the console:", *console])

    def wait(self, timeout):
        """Waits for QEMU's own end; returns its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise QemuError(f"QEMU still runs after {timeout} s") from None

    def readable(self, sock, timeout):
        """Whether the socket has something to read within the time."""
        return bool(select.select([sock], [], [], timeout)[0])

    def close(self):
        self._stack.close()
