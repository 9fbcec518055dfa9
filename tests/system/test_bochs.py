# SPDX-License-Identifier: BSD-3-Clause
"""test_bochs.py - unmodified Bochs loads our module: several cards at once, and what may go wrong."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import bochs
import hosts
import sandbox
import switch_process
import tap

BLOB_SIZE = 1_000_003
PCI = "pci: enabled=1, chipset=i440fx, slot1=e1000, slot2=ne2k, slot3=pcipnic"
# Each card on a network of its own; iPXE numbers them by slot.
NETS = ("10.0.2", "10.7.0", "10.8.0")
SCRIPT = "#!ipxe\n" + "".join(f"""
dhcp net{n} || goto end
imgfetch http://{net}.2:PORT/blob?card={n} || goto end
imgfree
imgfetch http://{net}.2:PORT/done?card={n}&ip=${{net{n}/ip}}&chip=${{net{n}/chip}} || goto end
ifclose net{n}
""" for n, net in enumerate(NETS)) + """
:end
exit
"""

OWN_SOCKET_SCRIPT = """#!ipxe
imgfetch http://10.0.2.2:PORT/blob?ip=${net0/ip} && imgfree ||
exit
"""


def setup():
    why = bochs.why_not() or sandbox.enter()
    if why:
        raise unittest.SkipTest(why)


class _Bochs(unittest.TestCase):
    vm = None

    @classmethod
    def diagnostics(cls):
        return cls.vm.diagnostics() if cls.vm else "no Bochs"

    @classmethod
    def run_to_the_end(cls, *lines, timeout=60, **boot):
        """Bochs ends by itself when its BIOS finds nothing more to boot."""
        cls.vm = bochs.Bochs(*lines, **boot)
        with cls.vm:
            cls.status = cls.vm.wait(timeout)


class Cards(_Bochs):
    """e1000 on slirp, ne2k on a switch whose uplink is slirp, pcipnic on slirp."""

    @classmethod
    def setUpClass(cls):
        blob = b"".join(hosts.payload(BLOB_SIZE, "bochs"))
        cls.http = hosts.Http({"/blob": blob, "/done": b"#!ipxe\n"})
        cls.addClassCleanup(cls.http.close)
        directory = tempfile.TemporaryDirectory(prefix="ringplug-tftp-")
        cls.addClassCleanup(directory.cleanup)
        pathlib.Path(directory.name).chmod(0o755)
        script = pathlib.Path(directory.name) / "boot.ipxe"
        script.write_text(SCRIPT.replace("PORT", str(cls.http.port)))
        switch = switch_process.Switch(0, f"slirp?net={NETS[1]}.0/24")
        cls.addClassCleanup(switch.close)
        switch.start()
        macs = [f"52:54:00:12:34:5{n}" for n in range(3)]
        cls.run_to_the_end(
            PCI,
            bochs.card("e1000", "ringplug", f"slirp?tftp={directory.name}&bootfile=/boot.ipxe",
                       macs[0]),
            bochs.card("ne2k", "ringplug", "switch:lan0", macs[1]),
            bochs.card("pcipnic", "ringplug", f"slirp?net={NETS[2]}.0/24", macs[2]),
            cdrom=bochs.IPXE, environment=switch.environment())

    def check(self, card):
        asked = dict(self.http.requests)
        self.assertEqual(asked.get(f"/blob?card={card}"), BLOB_SIZE, self.http.requests)
        done = [path for path in asked if path.startswith(f"/done?card={card}&")]
        self.assertEqual(len(done), 1, asked)
        self.assertIn(f"&ip={NETS[card]}.15", done[0])

    def test_e1000(self):
        """e1000: DHCP, a script by TFTP, 1 MB by HTTP"""
        self.check(0)

    def test_ne2k(self):
        """ne2k (PCI) on switch:lan0 beside it: DHCP, 1 MB by HTTP"""
        self.check(1)

    def test_pcipnic(self):
        """pcipnic on a second slirp beside them: DHCP, 1 MB by HTTP"""
        self.check(2)

    def test_log(self):
        """the cards name their networks in the log, and complain of nothing"""
        said = [line for line in self.vm.log() if "ringplug 0" in line]
        self.assertEqual(len(said), 3, said)
        self.assertEqual([c for c in self.vm.complaints() if "ringplug" in c], [])
        self.assertEqual([c for c in self.vm.complaints() if c.startswith("p[")],
                         ["p[BIOS  ] >>PANIC<< No bootable device."])

    def test_end(self):
        """Bochs ends in its own way, not by a signal"""
        self.assertEqual(self.status, 1)


class OwnSocket(_Bochs):
    """Bochs' own ethmod=socket on a door in place of bxhub."""

    @classmethod
    def setUpClass(cls):
        if not any(pathlib.Path("/usr/lib").glob("*/bochs/plugins/libbx_eth_socket.so")):
            raise unittest.SkipTest("this Bochs has no ethmod=socket")
        blob = b"".join(hosts.payload(BLOB_SIZE, "bochs"))
        cls.http = hosts.Http({"/blob": blob})
        cls.addClassCleanup(cls.http.close)
        directory = tempfile.TemporaryDirectory(prefix="ringplug-tftp-")
        cls.addClassCleanup(directory.cleanup)
        pathlib.Path(directory.name).chmod(0o755)
        script = pathlib.Path(directory.name) / "boot.ipxe"
        script.write_text(OWN_SOCKET_SCRIPT.replace("PORT", str(cls.http.port)))
        cls.switch = switch_process.Switch(
            0, f"slirp?tftp={directory.name}&bootfile=/boot.ipxe", more_doors=["bxhub:40000"])
        cls.addClassCleanup(cls.switch.close)
        cls.switch.start()

    def test_e1000(self):
        """e1000, ethdev=40000: DHCP, a script by TFTP, 1 MB by HTTP"""
        # Bochs' clock runs ahead: on a busy machine the guest may give up before an answer comes.
        for _ in range(3):
            with contextlib.suppress(bochs.BochsError):
                self.run_to_the_end("pci: enabled=1, chipset=i440fx, slot1=e1000",
                                    bochs.card("e1000", "socket", "40000"), cdrom=bochs.IPXE)
            if self.http.requests:
                break
        self.assertIn(("/blob?ip=10.0.2.15", BLOB_SIZE), map(tuple, self.http.requests))
        door = next(p for p in json.loads(self.switch.show())["ports"]
                    if p["name"] == "bxhub:40000" and not p["link"])
        self.assertGreaterEqual(door["counters"]["door.joined"], 1)


class IsaCard(_Bochs):
    """An NE2000 without PCI, driven by a boot sector."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="ringplug-isa-")
        cls.addClassCleanup(directory.cleanup)
        made, floppy = f"{directory.name}/isa.o", f"{directory.name}/floppy"
        source = pathlib.Path(__file__).with_name("ne2k_isa.S")
        subprocess.run(["as", "--32", "-o", made, str(source)], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary",
                        "-o", floppy, made], check=True)
        with open(floppy, "ab") as f:
            f.truncate(1440 << 10)
        cls.run_to_the_end(
            "pci: enabled=0",
            bochs.card("ne2k", "ringplug", "slirp?ipv6=off") + ", ioaddr=0x300, irq=10",
            floppy=floppy)

    def test_arp(self):
        """ne2k (ISA): a question by ARP is answered"""
        self.assertTrue([c for c in self.vm.complaints() if "shutdown requested" in c],
                        self.vm.complaints())


class Unknown(_Bochs):
    """A Bochs whose clock has another interface: a copy in which its name is another."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="ringplug-bochs-")
        cls.addClassCleanup(directory.cleanup)
        known = b"_ZN14bx_pc_system_c15unregisterTimerEj"
        binary = pathlib.Path(shutil.which("bochs-bin")).read_bytes()
        if known not in binary:
            raise unittest.SkipTest("this Bochs is another already")
        program = pathlib.Path(directory.name) / "bochs-bin"
        program.write_bytes(binary.replace(known, known[:-1] + b"m"))
        program.chmod(0o755)
        cls.run_to_the_end("pci: enabled=1, chipset=i440fx, slot1=e1000",
                           bochs.card("e1000", "ringplug", "slirp"), program=str(program))

    def test_said(self):
        """a Bochs that we don't know: a sentence, and it boots all the same"""
        self.assertIn("does not know this one: it has no _ZN14bx_pc_system_c15unregisterTimerEj",
                      self.vm.screen())
        self.assertIn("p[BIOS  ] >>PANIC<< No bootable device.", self.vm.complaints())
        self.assertEqual(self.status, 1)


class Mistakes(_Bochs):
    """What is wrong in bochsrc is said in Bochs' log, and Bochs goes on."""

    @classmethod
    def setUpClass(cls):
        cls.run_to_the_end(
            PCI,
            bochs.card("e1000", "ringplug", "slurp"),
            bochs.card("ne2k", "ringplug", "switch:nowhere?start=off"),
            bochs.card("pcipnic", "ringplug", "slirp?dnssearch=a,b#c", script="/bin/true"))

    def said(self, card, text):
        found = [line for line in self.vm.complaints() if text in line]
        self.assertEqual(len(found), 1, self.vm.complaints())
        self.assertIn(card, found[0])

    def test_unknown_mode(self):
        """a mode that there is not: the modes that there are"""
        self.said("E1000", "unknown scheme 'slurp'; accepted: slirp")

    def test_no_switch(self):
        """a switch that does not run: how to start it"""
        self.said("NE2K", "no switch 'nowhere' runs; start one: ringplug switch nowhere")

    def test_no_network(self):
        """each such card is named as without a network"""
        self.assertEqual(len([c for c in self.vm.complaints() if "on no network" in c]), 2)

    def test_script(self):
        """script= is not run, and said so"""
        self.said("PNIC", "script=/bin/true is ignored")

    def test_quotes(self):
        """commas and '#' between quotes are part of the locator"""
        self.assertTrue([line for line in self.vm.log() if line.endswith("slirp?dnssearch=a,b#c")])

    def test_goes_on(self):
        """Bochs boots all the same"""
        self.assertEqual(self.status, 1)
        self.assertIn("p[BIOS  ] >>PANIC<< No bootable device.", self.vm.complaints())


if __name__ == "__main__":
    tap.main(setup)
