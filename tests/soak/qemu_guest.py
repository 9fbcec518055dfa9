# SPDX-License-Identifier: BSD-3-Clause
"""qemu_guest.py - a Linux in QEMU on a vhost-user door, which sends back what is sent to it.

Its book is kept by its driver. It comes before the others, and stays.
"""

import pathlib
import sys
import time

import guests

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import guest  # pylint: disable=wrong-import-position
import switch_process  # pylint: disable=wrong-import-position

CARD = "virtio-net-pci"
# Sent, got, not yet sent back, bad: the driver has no sum of errors.
COUNTERS = """cd /sys/class/net/eth0/statistics
cat tx_packets rx_packets
awk 'NR > 1 { n += $7 } END { print n + 0 }' /proc/net/packet
cat rx_length_errors rx_frame_errors rx_dropped tx_dropped | awk '{ n += $1 } END { print n }'
"""
PATIENCE = 30


class QemuGuest(guests.Guest):
    def __init__(self, stack, mac, door):
        super().__init__(mac)
        guest.prepare(CARD)
        self.vm = stack.enter_context(switch_process.boot(door, guests.text_of(mac)))
        # Without IPv6 the kernel in there says nothing by itself.
        self.vm.ok("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6 && ip link set eth0 up && "
                   "(guest_net frame-echo eth0 >/tmp/echo 2>&1 &) && "
                   "until grep -q ready /tmp/echo; do sleep 0.1; done")
        self.read, self.counters = 0.0, (0, 0, 0)

    def look(self, age=0.1):
        """(sent, got, not yet sent back), as of so many seconds ago."""
        if time.monotonic() - self.read > age:
            *counters, bad = map(int, self.vm.ok(COUNTERS).split())
            assert bad == 0, f"the driver in QEMU saw {bad} bad frames"
            self.counters, self.read = tuple(counters), time.monotonic()
        return self.counters

    def hello(self):
        before = self.look(0)[0]
        self.vm.ok("guest_net frame-hello eth0")
        return guests.eventually(lambda: self.look(0)[0] != before,
                                 "the card in QEMU sends no more", PATIENCE)

    def settled(self):
        return self.look()[2] == 0

    # It speaks when it is spoken to.
    def send(self, frame):
        return False

    def receive(self):
        return False

    def says_sent(self):
        return self.look()[0]

    def says_got(self):
        return self.look()[1]
