# SPDX-License-Identifier: BSD-3-Clause
"""vhost_user.py - the smallest front end of vhost-user: one queue pair of split rings (virtio 1.2,
2.7), buffers of one descriptor, no offloads."""

import array
import ctypes
import mmap
import os
import socket
import struct

import guests

SIZE = 128
ROOM = 2048
NET_HEADER = 12  # virtio_net_hdr_v1
AREA = 0x4000  # of a ring: descriptors, available, used; buffers follow
AVAILABLE, USED = 0x1000, 0x2000
WRITE = 2

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 8, 9, 10
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ENABLE = 12, 13, 18
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 15, 16
VERSION_1, PROTOCOL_FEATURES = 1 << 32, 1 << 30

GUEST_AT, USER_AT = 0x100000, 0x7f0000000000


class Ring:
    """The driver's end. `at` is where it lies in the memory."""

    def __init__(self, memory, at, to_guest):
        self.memory, self.at, self.to_guest = memory, at, to_guest
        self.available = self.used = 0
        self.kick, self.call = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2))
        # Both ends see each of these change at once.
        self.offered, self.done = (ctypes.c_uint16.from_buffer(memory, at + area + 2)
                                   for area in (AVAILABLE, USED))
        self.free = list(range(SIZE))
        for i in range(SIZE):
            struct.pack_into("<QIHH", memory, at + 16 * i, GUEST_AT + self.buffer(i), ROOM,
                             WRITE if to_guest else 0, 0)
        if to_guest:
            while self.free:
                self.offer(self.free.pop())

    def buffer(self, i):
        return self.at + AREA + ROOM * i

    def offer(self, i, length=ROOM):
        struct.pack_into("<I", self.memory, self.at + 16 * i + 8, length)
        struct.pack_into("<H", self.memory, self.at + AVAILABLE + 4 + 2 * (self.available % SIZE), i)
        self.available = (self.available + 1) & 0xffff
        self.offered.value = self.available
        os.eventfd_write(self.kick, 1)

    def next_used(self):
        """A buffer and how much of it was written; None: there is none."""
        if self.done.value == self.used:
            return None
        i, length = struct.unpack_from("<II", self.memory,
                                       self.at + USED + 4 + 8 * (self.used % SIZE))
        self.used = (self.used + 1) & 0xffff
        return i, length

    def close(self):
        os.close(self.kick)
        os.close(self.call)
        self.offered = self.done = None  # they hold the memory


class FrontEnd(guests.Guest):
    def __init__(self, mac, path):
        super().__init__(mac)
        self.wire = guests.dial(socket.SOCK_STREAM, path)
        whole = 2 * (AREA + ROOM * SIZE)
        fd = os.memfd_create("soak")
        os.ftruncate(fd, whole)
        self.memory = mmap.mmap(fd, whole)
        self.ask(GET_FEATURES)
        self.say(SET_OWNER)
        self.ask(GET_PROTOCOL_FEATURES)
        self.say(SET_PROTOCOL_FEATURES, struct.pack("<Q", 0))
        self.say(SET_FEATURES, struct.pack("<Q", VERSION_1 | PROTOCOL_FEATURES))
        self.say(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, GUEST_AT, whole, USER_AT, 0), fd)
        os.close(fd)
        self.rings = [Ring(self.memory, i * whole // 2, i == 0) for i in range(2)]
        for i, r in enumerate(self.rings):
            self.say(SET_VRING_NUM, struct.pack("<II", i, SIZE))
            self.say(SET_VRING_BASE, struct.pack("<II", i, 0))
            at = USER_AT + r.at
            self.say(SET_VRING_ADDR,
                     struct.pack("<IIQQQQ", i, 0, at, at + USED, at + AVAILABLE, 0))
            self.say(SET_VRING_CALL, struct.pack("<Q", i), r.call)
            self.say(SET_VRING_KICK, struct.pack("<Q", i), r.kick)
            self.say(SET_VRING_ENABLE, struct.pack("<II", i, 1))
        self.ask(GET_FEATURES)  # all before it has been done

    def say(self, request, payload=b"", fd=None):
        message = struct.pack("<III", request, 1, len(payload)) + payload
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.wire.sendmsg([message], rights)

    def ask(self, request):
        self.say(request)
        answer = self.wire.recv(20, socket.MSG_WAITALL)
        assert len(answer) == 20, "the vhost-user door hung up"
        return struct.unpack("<IIIQ", answer)[3]

    def reclaim(self):
        while used := self.rings[1].next_used():
            self.rings[1].free.append(used[0])

    def settled(self):
        self.reclaim()
        return len(self.rings[1].free) == SIZE

    def send_raw(self, frame):
        ring = self.rings[1]
        self.reclaim()
        if not ring.free:
            return False
        i = ring.free.pop()
        at = ring.buffer(i)
        self.memory[at:at + NET_HEADER + len(frame)] = bytes(NET_HEADER) + frame
        ring.offer(i, NET_HEADER + len(frame))
        return True

    def receive_raw(self):
        used = self.rings[0].next_used()
        if used is None:
            return None
        i, length = used
        at = self.rings[0].buffer(i)
        frame = self.memory[at + NET_HEADER:at + length]
        self.rings[0].offer(i)
        return frame

    def leave(self):
        self.wire.close()
        for r in self.rings:
            r.close()
        self.memory.close()
