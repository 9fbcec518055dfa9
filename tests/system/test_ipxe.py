# SPDX-License-Identifier: BSD-3-Clause
"""test_ipxe.py - iPXE, QEMU's own option ROM, boots over the network: DHCP, TFTP, HTTP."""

import pathlib
import tempfile
import unittest

import hosts
import qemu
import sandbox
import tap

BLOB_SIZE = 1_000_003
TFTP_SIZE = 100_003
# The last line of a script only runs when all before it has come; this much of it are comments.
PADDING = "".join(f"# {i:060}\n" for i in range(4000))

BOOT = """#!ipxe
imgfetch tftp://${next-server}/more
imgfetch http://10.0.2.2:PORT/blob
imgfree
chain http://10.0.2.2:PORT/long.ipxe
"""
LONG = """#!ipxe
""" + PADDING + """
set lease ip=${ip}&mask=${netmask}&gw=${gateway}&dns=${dns}&file=${filename}
imgfetch http://10.0.2.2:PORT/done?${lease}
reboot
"""
DONE = "/done?ip=10.0.2.15&mask=255.255.255.0&gw=10.0.2.2&dns=10.0.2.3&file=/boot.ipxe"


def setup():
    tap.note(f"netdev: {qemu.kind()}")
    sandbox.enter()


class _Ipxe(unittest.TestCase):
    card = None
    vm = None

    @classmethod
    def diagnostics(cls):
        asked = [f"{path} {size}" for path, size in cls.http.requests]
        return "\n".join([f"HTTP requests: {asked}", f"QEMU: {cls.status}", cls.said])

    @classmethod
    def setUpClass(cls):
        """Boots to the end; the cases look at what each side saw."""
        blob = b"".join(hosts.payload(BLOB_SIZE, "ipxe"))
        pages = {"/blob": blob, "/done": b"#!ipxe\n"}
        cls.http = http = hosts.Http(pages)
        cls.addClassCleanup(http.close)
        cls.long = LONG.replace("PORT", str(http.port)).encode()
        pages["/long.ipxe"] = cls.long
        directory = tempfile.TemporaryDirectory(prefix="ringplug-tftp-")
        cls.addClassCleanup(directory.cleanup)
        root = pathlib.Path(directory.name)
        root.chmod(0o755)
        (root / "boot.ipxe").write_text(BOOT.replace("PORT", str(http.port)))
        (root / "more").write_bytes(b"".join(hosts.payload(TFTP_SIZE, "tftp")))
        network = qemu.netdev("slirp", [("tftp", directory.name), ("bootfile", "/boot.ipxe")])
        with qemu.Qemu("-boot", "n", "-netdev", network, "-device", f"{cls.card},netdev=n0") as vm:
            try:
                cls.status = vm.wait(55)
            except qemu.QemuError as err:
                cls.status = err
            cls.said = vm.diagnostics()

    def test_dhcp_and_script(self):
        """DHCP names the script, TFTP brings it, and it runs with the lease's values"""
        self.assertTrue(self.http.requests, "no HTTP request came")
        self.assertIn(DONE, [path for path, _ in self.http.requests])

    def test_http(self):
        """HTTP brings a file of 1 MB to its end"""
        self.assertEqual(self.http.sent("/blob"), BLOB_SIZE)

    def test_long_script(self):
        """a script of 250 kB over HTTP is whole: its last line runs"""
        self.assertEqual(self.http.sent("/long.ipxe"), len(self.long))
        self.assertEqual(self.http.requests[-1][0], DONE)

    def test_end(self):
        """the script's reboot ends QEMU with 0"""
        self.assertEqual(self.status, 0)


class E1000(_Ipxe):
    card = "e1000"


class VirtioNet(_Ipxe):
    card = "virtio-net-pci"


class Ne2k(_Ipxe):
    card = "ne2k_pci"


if __name__ == "__main__":
    tap.main(setup)
