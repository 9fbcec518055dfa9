# SPDX-License-Identifier: BSD-3-Clause
"""matrix.py - which emulators reach which networks, and the command lines: docs/emulators.md's table.

A row is an emulator with a card, a mode is a network; test_matrix.py runs each pair. A row gets a new
mode, and a mode a new row, by one line here and one in the document.
"""

import dataclasses

BOTH = "DHCP, ping, HTTP both ways"
# iPXE has no ping command in Debian's build, and serves no pages.
IPXE = "DHCP, HTTP to the guest"

# What a user writes for LOCATOR.
MODES = {
    "slirp": "slirp?hostfwd=tcp:127.0.0.1:8080-:80",
    "switch": "switch:lan0",
    "tap": "tap:tap0?address=10.9.0.1/24",
}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    command: str  # what makes the network, of the emulator's command line or configuration
    seen: str
    door: str = None  # of a `ringplug switch` before the emulator, whose uplink is LOCATOR

    @property
    def slug(self):
        return "".join(c if c.isalnum() else "_" for c in self.name.lower())


def _qemu(card):
    return Row(f"QEMU {card}", f"-netdev 'vde,id=n0,sock=ringplug://LOCATOR' "
               f"-device {card},netdev=n0", BOTH)


def _bochs(card):
    return Row(f"Bochs {card}", f"{card}: enabled=1, mac=52:54:00:12:34:56, ethmod=ringplug, "
               'ethdev="LOCATOR"', IPXE)


QEMU = (
    _qemu("e1000"),
    _qemu("virtio-net-pci"),
    _qemu("ne2k_pci"),
    _qemu("rtl8139"),
    Row("QEMU vhost-user", "-object memory-backend-memfd,id=mem,size=256M,share=on "
        "-numa node,memdev=mem -chardev socket,id=c0,path=/tmp/vm0.sock,reconnect=1 "
        "-netdev vhost-user,id=n0,chardev=c0 -device virtio-net-pci,netdev=n0,vectors=0",
        BOTH, door="vhost-user:/tmp/vm0.sock"),
)
BOCHS = (_bochs("e1000"), _bochs("ne2k"))
UML = (
    Row("UML vde", "eth0=vde,ringplug://LOCATOR,52:54:00:12:34:56", BOTH),
    Row("UML daemon", "eth0=daemon,52:54:00:12:34:56,unix,/tmp/vde0/ctl", BOTH,
        door="vde:/tmp/vde0"),
)
NETNS = (
    Row("netns", "ringplug netns 'LOCATOR' --", BOTH),
    Row("vdens", "vdens 'ringplug://LOCATOR'", BOTH),
)
ROWS = QEMU + BOCHS + UML + NETNS
