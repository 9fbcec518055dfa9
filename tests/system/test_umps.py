# SPDX-License-Identifier: BSD-3-Clause
"""test_umps.py - Debian's uMPS3 on a vde door: it joins, asks by ARP, hears the answer.

uMPS3 has no way to run but by its windows, so it gets a display that nobody looks at (Xvfb) and
keys that nobody presses (xdotool): F5 turns the machine on, F9 lets it run. Its program is made
here: a core file is a tag, the memory from 0x20000000 on, and in that an a.out header whose entry
the boot ROM jumps to (umps/aout.h, coreboot.S). The network device is at interrupt line 5
(umps/arch.h); commands and states are the network adapter's of the uMPS3 manual, 5.5.
"""

import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import qemu
import sandbox
import switch_process
import tap

MAC = "02:00:00:00:00:07"
PATIENCE = 30
ECHO = 1000
CORE_TAG, AOUT_TAG = 0x0353504D, 0x0453504D
RAM, CODE, ASK, BUFFER = 0x20000000, 0x200010B0, 0x20002000, 0x20003000
DEVICE = 0x10000154
STATUS, COMMAND, DATA0, DATA1 = 0, 4, 8, 12
ACK, READ, WRITE, BUSY = 1, 3, 4, 3
ZERO, BASE, VALUE, BUSY_STATE = 0, 8, 9, 10


def _i(op, rs, rt, immediate):
    """An instruction of MIPS I with an immediate."""
    return op << 26 | rs << 21 | rt << 16 | immediate & 0xffff


def _load(register, value):
    return [_i(0x0f, 0, register, value >> 16), _i(0x0d, register, register, value)]


def _set(field, value):
    return [*_load(VALUE, value), _i(0x2b, BASE, VALUE, field)]


def _get(field):
    return [_i(0x23, BASE, VALUE, field), 0]


def _command(number):
    return [*_set(COMMAND, number), *_get(STATUS), _i(0x0c, VALUE, VALUE, 0xff),
            _i(0x04, VALUE, BUSY_STATE, -4), 0]


def _write(address, size):
    return [*_set(DATA0, address), *_set(DATA1, size), *_command(WRITE), *_command(ACK)]


def core():
    """Asks who has 10.0.2.2, waits for a frame and sends so many bytes from where it lies."""
    read = [*_set(DATA0, BUFFER), *_command(READ), *_get(DATA1)]
    program = [*_load(BASE, DEVICE), *_load(BUSY_STATE, BUSY), *_write(ASK, 60),
               *read, _i(0x04, VALUE, ZERO, -len(read) - 1), 0,
               *_write(BUFFER, ECHO), _i(0x04, ZERO, ZERO, -1), 0]
    mac = bytes.fromhex(MAC.replace(":", ""))
    ask = (b"\xff" * 6 + mac + struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, 1) + mac +
           socket.inet_aton("10.0.2.15") + bytes(6) + socket.inet_aton("10.0.2.2"))
    memory = bytearray(BUFFER - RAM)
    struct.pack_into("<II", memory, 0x1000, AOUT_TAG, CODE)
    struct.pack_into(f"<{len(program)}I", memory, CODE - RAM, *program)
    memory[ASK - RAM:ASK - RAM + len(ask)] = ask
    return struct.pack("<I", CORE_TAG) + memory


def setup():
    for program in "umps3", "Xvfb", "xdotool":
        if not shutil.which(program):
            raise unittest.SkipTest(f"no {program} here: install umps3, xvfb, xdotool")
    sandbox.enter()


class Machine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.switch = switch_process.Switch(0, "slirp?ipv6=off")
        cls.addClassCleanup(cls.switch.close)
        door = cls.switch.directory / "vde"
        cls.switch.also(f"--door=vde:{door}")
        cls.switch.start()
        home = tempfile.TemporaryDirectory(prefix="ringplug-umps-")
        cls.addClassCleanup(home.cleanup)
        cls.home = pathlib.Path(home.name)
        (cls.home / "core").write_bytes(core())
        (cls.home / "stab").write_text("MPSA00000000 00000000\n")
        (cls.home / "machine").write_text(json.dumps({
            "boot": {"load-core-file": True, "core-file": "core"},
            "symbol-table": {"file": "stab", "asid": 64},
            "devices": {"eth0": {"enabled": True, "file": str(door), "address": MAC}}}))
        cls.environment = dict(os.environ, HOME=home.name, XDG_CONFIG_HOME=home.name,
                               XDG_RUNTIME_DIR=home.name, QT_QPA_PLATFORM="xcb")
        cls.environment["DISPLAY"] = cls.display()
        cls.start("umps3", str(cls.home / "machine"))

    @classmethod
    def start(cls, *command, **more):
        log = open(cls.home / f"{command[0]}.log", "wb")
        cls.addClassCleanup(log.close)
        process = subprocess.Popen(qemu.tied(command), env=cls.environment, stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, cwd=cls.home, **more)
        cls.addClassCleanup(qemu.stop, process)
        return process

    @classmethod
    def display(cls):
        ours, theirs = os.pipe()
        try:
            cls.start("Xvfb", "-displayfd", str(theirs), "-nolisten", "tcp", pass_fds=(theirs,))
        finally:
            os.close(theirs)
        with os.fdopen(ours) as told:
            number = told.readline().strip()
        if not number:
            raise unittest.SkipTest("Xvfb does not run here: " +
                                    (cls.home / "Xvfb.log").read_text()[-300:])
        return f":{number}"

    @classmethod
    def diagnostics(cls):
        return "\n".join(p.read_text(errors="replace") for p in cls.home.glob("*.log"))

    def client(self):
        for port in json.loads(self.switch.show())["ports"]:
            if port["name"].startswith("uMPS"):
                return port
        return None

    def press_until(self, key, what, why):
        """Presses the key, which does nothing once it has worked."""
        end = time.monotonic() + PATIENCE
        while not (port := self.client()) or not what(port):
            self.assertLess(time.monotonic(), end, why)
            subprocess.run(["xdotool", "search", "--onlyvisible", "--name", "uMPS", "windowfocus",
                            "key", key], env=self.environment, capture_output=True, timeout=20)
            time.sleep(0.3)
        return port

    def test_a_joins(self):
        """turned on, it is a port of the switch, by libvdeplug"""
        port = self.press_until("F5", lambda p: p["link"], "it never joined")
        self.assertRegex(port["name"], r"^uMPS user=\S+ pid=\d+")

    def test_b_frames(self):
        """its question by ARP is answered, and the answer read: it sends it on"""
        port = self.press_until("F9", lambda p: p["counters"]["in.frames"] >= 2, "no frames")
        self.assertEqual(port["counters"]["in.bytes"], 60 + ECHO)
        self.assertGreaterEqual(port["counters"]["out.frames"], 1)


if __name__ == "__main__":
    tap.main(setup)
