# SPDX-License-Identifier: BSD-3-Clause
"""bochs.py - starts Bochs on a network of ours or of its own, and always ends it.

Debian's build has no display but for people, so it gets a terminal that nobody looks at, and its
debugger, which waits for a command before the first instruction, gets the one to go on.
"""

import contextlib
import fcntl
import os
import pathlib
import pty
import shutil
import struct
import subprocess
import tempfile
import termios
import threading

import qemu

MODULE = qemu.BUILD / "api" / "libbx_eth_ringplug.so"
IPXE = pathlib.Path("/usr/lib/ipxe/ipxe.iso")
MAC = "52:54:00:12:34:56"

BOCHSRC = """\
config_interface: textconfig
display_library: term
plugin_ctrl: speaker=0, gameport=0, parallel=0, serial=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
megs: 64
log: LOG
panic: action=report
error: action=report
info: action=report
debug: action=ignore
"""


class BochsError(Exception):
    """Bochs, or what runs in it, did not do as it should."""


def why_not():
    """Why Bochs can't run here, or None."""
    if not shutil.which("bochs"):
        return "no bochs here: install bochs, bochs-term, bochsbios, vgabios"
    if not IPXE.exists():
        return f"no {IPXE} here: install ipxe"
    return None


def modules_path():
    """Where Bochs shall look for modules: in the build tree, and where its own are."""
    own = [str(d) for d in pathlib.Path("/usr/lib").glob("*/bochs/plugins")]
    return ":".join([str(MODULE.parent), *own])


def quoted(text):
    """A value in a line of bochsrc. Between quotes all is itself but '"' and '$'."""
    assert '"' not in text and "$" not in text
    return f'"{text}"'


def card(name, ethmod, ethdev, mac=MAC, script=None):
    """The line of bochsrc for a card."""
    more = f", script={quoted(script)}" if script else ""
    return f"{name}: enabled=1, mac={mac}, ethmod={ethmod}, ethdev={quoted(ethdev)}{more}"


class Bochs:
    """One Bochs; `lines` go into its bochsrc. It boots the CD, if there is one."""

    def __init__(self, *lines, cdrom=None, floppy=None, environment=None,
                 program="bochs"):
        self._stack = contextlib.ExitStack()
        self._lines = list(lines)
        self._program = program
        self._environment = environment or qemu.environment()
        if cdrom:
            self._lines += [f'ata0-master: type=cdrom, path="{cdrom}", status=inserted',
                            "boot: cdrom"]
        else:
            self._lines.append("boot: floppy")
        if floppy:
            self._lines.append(f'floppya: 1_44="{floppy}", status=inserted')
        self._screen = b""
        self._kept = None
        self.process = self.command = None

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

    def _start(self):
        directory = pathlib.Path(self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ringplug-bochs-")))
        self._log = directory / "log"
        self._stack.callback(self._keep_log)
        bochsrc, commands = directory / "bochsrc", directory / "commands"
        bochsrc.write_text(BOCHSRC.replace("LOG", str(self._log)) + "\n".join(self._lines) + "\n")
        commands.write_text("c\n")
        self.command = [self._program, "-q", "-f", str(bochsrc), "-rc", str(commands)]
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = dict(self._environment, TERM="xterm", LTDL_LIBRARY_PATH=modules_path())
        try:
            self.process = subprocess.Popen(
                qemu.tied(self.command), stdin=theirs, stdout=theirs, stderr=theirs,
                env=environment, cwd=directory)
        finally:
            os.close(theirs)
        reader = threading.Thread(target=self._drain, args=(ours,), daemon=True)
        reader.start()
        self._stack.callback(reader.join)
        self._stack.callback(qemu.stop, self.process)

    def _drain(self, screen):
        # Reading fails once nobody has the other end.
        with contextlib.suppress(OSError):
            while data := os.read(screen, 65536):
                self._screen = (self._screen + data)[-20000:]
        os.close(screen)

    def wait(self, timeout):
        """Waits for Bochs' own end; returns its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise BochsError(f"Bochs still runs after {timeout} s") from None

    def log(self):
        """The lines of its log, without the time in front."""
        if self._kept is not None:
            return self._kept
        with contextlib.suppress(OSError):
            return [line[11:] for line in self._log.read_text(errors="replace").splitlines()]
        return []

    def _keep_log(self):
        self._kept = self.log()

    def complaints(self):
        """Errors and panics of the log."""
        return [line for line in self.log() if line.startswith(("e[", "p["))]

    def screen(self):
        return self._screen.decode(errors="replace")

    def diagnostics(self):
        return "\n".join(["end of Bochs' log:", *self.log()[-40:], "end of its screen:",
                          repr(self.screen()[-1500:])])

    def close(self):
        self._stack.close()
