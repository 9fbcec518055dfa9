# SPDX-License-Identifier: BSD-3-Clause
"""matrix_modes.py - the networks of the matrix, each with a host that serves pages and fetches some.

Each place (a number) is one guest's. `bootfile` is a URL that DHCP gives to those that boot from it.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import hosts
import qemu
import switch_process

PAGE = b"a page from the host\n"
PLACES = 16
MAC = "52:54:00:12:34:{:02x}"


def fetch(address, patience=10):
    """A page of the HTTP server there."""
    answer = b""
    with socket.create_connection(address, patience) as s:
        s.settimeout(patience)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while data := s.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[2]


class _Mode:
    """The host in a mode."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.pages = {"/page": PAGE, "/visit": self._visit, "/done": b"#!ipxe\n"}
        self.http = self.stack.enter_context(hosts.Http(self.pages, self.addresses()))

    def addresses(self):
        return ()

    def url(self, place):
        return f"http://{self.gateway(place)}:{self.http.port}"

    def served(self, place):
        """Called when the emulator has opened the locator."""

    def state(self):
        """What the network counted, for when a guest got nowhere."""
        return ""

    def _visit(self, path):
        """A guest asks to be visited: /visit?PLACE&ADDRESS; the answer is what it serves."""
        place, address = path.partition("?")[2].split("&")
        why = "it was empty"
        for _ in range(20):
            try:
                if page := fetch(self.entrance(int(place), address)):
                    return page
            except ConnectionError as err:  # the guest's server is on its way
                why = err
            except OSError as err:
                return f"no page came from {address}: {err}\n".encode()
            time.sleep(0.2)
        return f"no page came from {address}: {why}\n".encode()

    def environment(self):
        return {}

    def close(self):
        self.stack.close()


class Slirp(_Mode):
    """A NAT for each."""

    def __init__(self):
        super().__init__()
        self._ports = [hosts.free_port() for _ in range(PLACES)]

    def gateway(self, place):
        return "10.0.2.2"

    def locator(self, place, bootfile=None):
        options = [("hostfwd", f"tcp:127.0.0.1:{self._ports[place]}-:80")]
        if bootfile:
            options.append(("bootfile", bootfile))
        return qemu.locator("slirp", options)

    def entrance(self, place, address):
        return "127.0.0.1", self._ports[place]


class Switch(_Mode):
    """One switch for all, with a NAT as its uplink."""

    def __init__(self):
        super().__init__()
        # Leases are given from .15 on, in the order in which they are asked for.
        self._ports = {f"10.0.2.{15 + n}": hosts.free_port() for n in range(PLACES)}
        options = [("hostfwd", f"tcp:127.0.0.1:{port}-{address}:80")
                   for address, port in self._ports.items()]
        options.append(("bootfile", self.url(0) + "/boot.ipxe"))
        self._switch = switch_process.Switch(0, qemu.locator("slirp", options))
        self.stack.callback(self._switch.close)
        self._switch.start()

    def gateway(self, place):
        return "10.0.2.2"

    def locator(self, place, bootfile=None):
        return f"switch:{switch_process.NAME}"

    def entrance(self, place, address):
        return "127.0.0.1", self._ports[address]

    def environment(self):
        return {"XDG_RUNTIME_DIR": str(self._switch.directory)}

    def state(self):
        return self._switch.show()


class Tap(_Mode):
    """A device of the host for each, with a DHCP server on it."""

    def __init__(self):
        # The addresses come with the devices, after the server that listens on them.
        with open("/proc/sys/net/ipv4/ip_nonlocal_bind", "w") as f:
            f.write("1")
        super().__init__()
        self._directory = pathlib.Path(
            self.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringplug-dhcpd-")))
        self._bootfiles = {}

    def addresses(self):
        return [self.gateway(n) for n in range(PLACES)]

    def gateway(self, place):
        return f"10.9.{place}.1"

    def locator(self, place, bootfile=None):
        self._bootfiles[place] = bootfile
        return f"tap:tap{place}?address={self.gateway(place)}/24"

    def entrance(self, place, address):
        return address, 80

    def served(self, place):
        device, files = f"tap{place}", self._directory / str(place)
        deadline = time.monotonic() + 20
        while device not in [name for _, name in socket.if_nameindex()]:
            if time.monotonic() > deadline:
                raise qemu.QemuError(f"no device {device} came")
            time.sleep(0.01)
        net = self.gateway(place).removesuffix(".1")
        bootfile = self._bootfiles[place]
        (files.with_suffix(".leases")).touch()
        files.with_suffix(".conf").write_text(
            f"interface {device}\nstart {net}.15\nend {net}.99\nmax_leases 80\n"
            f"lease_file {files}.leases\npidfile {files}.pid\n"
            f"option subnet 255.255.255.0\noption router {net}.1\n"
            # A lease of its own is offered at once; others only after it was asked whether
            # somebody has the address.
            f"static_lease {MAC.format(place)} {net}.15\n"
            + (f"boot_file {bootfile}\n" if bootfile else ""))
        server = subprocess.Popen(
            qemu.tied(["busybox", "udhcpd", "-f", "-I", f"{net}.1", f"{files}.conf"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(qemu.stop, server)


def why_no_tap():
    """Why there can be no tap device here, or None."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is not accessible"
    return None


CLASSES = {"slirp": Slirp, "switch": Switch, "tap": Tap}
