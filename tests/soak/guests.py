# SPDX-License-Identifier: BSD-3-Clause
"""guests.py - emulators that come in by every door, each with a book of what it sent and got.

None of them waits: send() says whether the frame is on its way, receive() takes what is there.
"""

import ctypes
import os
import socket
import struct
import tempfile
import time
import zlib

ETHERTYPE, ANSWER = b"\x88\xb5", b"\x88\xb6"  # for experiments (IEEE 802)
HEADER = struct.Struct("!6s6s2sHI")  # to, from, type, length, number of the frame
MOST = 65536
BROADCAST = b"\xff" * 6
PATIENCE = 60


def eventually(what, why, patience=PATIENCE):
    end = time.monotonic() + patience
    while not (value := what()):
        if time.monotonic() > end:
            raise AssertionError(why)
        time.sleep(0.005)
    return value


def text_of(mac):
    return ":".join(f"{b:02x}" for b in mac)


class Book:
    """Of one guest: all that passed, and whether it was as it should be."""

    def __init__(self):
        self.sent = self.got = 0
        self.last = {}

    def note(self, frame):
        self.got += 1
        if len(frame) < HEADER.size + 4:
            return
        to, source, kind, length, number = HEADER.unpack_from(frame)
        if kind == ANSWER and not to[0] & 1:
            # What `to` once said to `source`, and else as it was.
            frame = source + to + ETHERTYPE + frame[14:]
            source = source, to
        elif kind != ETHERTYPE:
            return
        assert length <= len(frame), (length, len(frame))
        frame = frame[:length]
        assert zlib.crc32(frame[:-4]) == struct.unpack("!I", frame[-4:])[0], "a frame was changed"
        assert number > self.last.get(source, -1), "a frame came twice, or out of order"
        self.last[source] = number


class Guest:
    """`mac` is its own; what it says goes to `send_raw`, and what comes out of `receive_raw`."""

    def __init__(self, mac):
        self.mac, self.book, self.number = mac, Book(), 0

    def frame(self, to, size, kind=ETHERTYPE):
        """One whose change would be seen."""
        self.number += 1
        body = HEADER.pack(to, self.mac, kind, size, self.number)
        body += bytes((self.number + i) & 0xff for i in range(7)) * (size // 7)
        body = body[:size - 4]
        return body + struct.pack("!I", zlib.crc32(body))

    def send(self, frame):
        if self.send_raw(frame):
            self.book.sent += 1
            return True
        return False

    def hello(self):
        """To all. True: it is on its way."""
        return self.send(self.frame(BROADCAST, 60))

    def receive(self):
        """True: something came."""
        any_came = False
        for _ in range(200):
            frame = self.receive_raw()
            if frame is None:
                break
            any_came = True
            self.book.note(frame)
        return any_came

    # What the switch counted of it has to agree.
    def says_sent(self):
        return self.book.sent

    def says_got(self):
        return self.book.got

    def settled(self):
        """Nothing of what it said waits on this side."""
        return True


def dial(kind, path):
    s = socket.socket(socket.AF_UNIX, kind)
    s.connect(path)  # waits for a place in the queue, which it would not with a timeout
    s.settimeout(20)
    return s


class Bare(Guest):
    """Over SOCK_SEQPACKET."""

    def __init__(self, mac, path):
        super().__init__(mac)
        self.socket = dial(socket.SOCK_SEQPACKET, path)
        self.socket.setblocking(False)

    def send_raw(self, frame):
        try:
            return self.socket.send(frame) == len(frame)
        except BlockingIOError:
            return False

    def receive_raw(self):
        try:
            return self.socket.recv(MOST)
        except BlockingIOError:
            return None

    def leave(self):
        self.socket.close()


class Vde(Bare):
    """As libvdeplug comes in."""

    def __init__(self, mac, folder):
        Guest.__init__(self, mac)
        self.control = dial(socket.SOCK_STREAM, f"{folder}/ctl")
        self.folder = tempfile.TemporaryDirectory(prefix="soak-")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = f"{self.folder.name}/s"
        self.socket.bind(path)
        self.control.send(request(path))
        answer = self.control.recv(110)
        assert len(answer) == 110, "the VDE door hung up"
        self.socket.connect(answer[2:].split(b"\0")[0])
        self.socket.setblocking(False)

    def leave(self):
        self.socket.close()
        self.control.close()
        self.folder.cleanup()


def request(path):
    address = struct.pack("H108s", socket.AF_UNIX, path.encode())
    return struct.pack("III", 0xfeedface, 3, 0) + address + b"soak\0"


class Stream(Guest):
    """As QEMU's -netdev stream comes in."""

    def __init__(self, mac, path):
        super().__init__(mac)
        self.socket = dial(socket.SOCK_STREAM, path)
        self.socket.setblocking(False)
        self.rest, self.waits = b"", b""

    def push(self):
        try:
            while self.rest:
                self.rest = self.rest[self.socket.send(self.rest):]
        except BlockingIOError:
            pass

    def settled(self):
        self.push()
        return not self.rest

    def send_raw(self, frame):
        if not self.settled():
            return False
        self.rest = struct.pack("!I", len(frame)) + frame
        self.push()
        return True

    def receive_raw(self):
        while True:
            if len(self.waits) >= 4:
                size, = struct.unpack_from("!I", self.waits)
                if len(self.waits) >= 4 + size:
                    frame, self.waits = self.waits[4:4 + size], self.waits[4 + size:]
                    return frame
            try:
                self.waits += self.socket.recv(MOST)
            except BlockingIOError:
                return None

    def leave(self):
        self.socket.close()


class Plug(Guest):
    """Through shared memory, over the C ABI."""

    class Error(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("code", ctypes.c_int),
                    ("message", ctypes.c_char * 500)]

    library = None

    def __init__(self, mac, name):
        super().__init__(mac)
        lib = Plug.library
        lib.rp_plug_send.restype = lib.rp_plug_recv.restype = ctypes.c_ssize_t
        self.buffer = ctypes.create_string_buffer(MOST)
        self.plug = ctypes.c_void_p()
        error = Plug.Error(ctypes.sizeof(Plug.Error))
        made = lib.rp_plug_open(f"switch:{name}?start=off".encode(), None,
                                ctypes.byref(self.plug), ctypes.byref(error))
        assert made == 0, error.message

    def send_raw(self, frame):
        return Plug.library.rp_plug_send(self.plug, frame, ctypes.c_size_t(len(frame))) >= 0

    def receive_raw(self):
        n = Plug.library.rp_plug_recv(self.plug, self.buffer, ctypes.c_size_t(MOST))
        assert n >= 0, f"rp_plug_recv: {n}"
        return self.buffer.raw[:n] if n else None

    def leave(self):
        Plug.library.rp_plug_close(self.plug)


class Namespace(Guest):
    """A tap device in a network namespace, seen through a packet socket. Its device counts: a packet
    socket loses frames when it is full, and so does the device's queue."""

    def __init__(self, mac, pid, name="eth0"):
        super().__init__(mac)
        self.pid = pid
        self.socket = in_namespace(pid, lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3)))
        self.socket.bind((name, 0))
        self.name = name

    def send_raw(self, frame):
        if len(frame) < 14:  # the kernel takes no less
            return False
        try:
            return self.socket.send(frame) == len(frame)
        except (BlockingIOError, OSError):
            return False

    def receive_raw(self):
        try:
            frame, where = self.socket.recvfrom(MOST)
        except BlockingIOError:
            return None
        return frame if where[2] != socket.PACKET_OUTGOING else b""

    def counter(self, which):
        with open(f"/proc/{self.pid}/net/dev", encoding="ascii") as f:
            for line in f:
                name, _, values = line.partition(":")
                if name.strip() == self.name:
                    return int(values.split()[which])
        raise AssertionError("the device is gone")

    # Of /proc/net/dev: received packets are the second word, sent ones the tenth.
    def says_sent(self):
        return self.counter(9)

    def says_got(self):
        return self.counter(1)

    def leave(self):
        self.socket.close()


def in_namespace(pid, function):
    """Calls it there. This process has to have one thread that cares about its namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(other, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return function()
        finally:
            libc.setns(own, 0)
    finally:
        os.close(own)
        os.close(other)
