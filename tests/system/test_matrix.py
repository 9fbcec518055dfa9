# SPDX-License-Identifier: BSD-3-Clause
"""test_matrix.py - each emulator on each network, as docs/emulators.md has it.

The cards of one emulator are in one guest, which uses one at a time; doors are on switches of their
own before the mode.
"""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import tempfile
import unittest

import bochs
import guest
import hosts
import matrix
import matrix_modes
import qemu
import sandbox
import switch_process
import tap
import uml

BLOB_SIZE = 300_007
GUEST_PAGE = "a page from the guest"
KERNEL_OF = "e1000"
PLACE = {row: number for number, row in enumerate(matrix.ROWS)}

# Prints what is looked at; the card is down before and after, as in slirp mode all have one address.
SCRIPT = """
ip link set IF up
udhcpc -i IF -n -q -f -t 10 -T 1 -s DHCP 2>&1
ping -c 2 -W 5 GATEWAY
wget -q -O - URL/page
address=$(ip -4 addr show dev IF | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p')
mkdir -p WWW
echo '""" + GUEST_PAGE + """ PLACE' >WWW/index.html
busybox httpd -f -p 80 -h WWW &
httpd=$!
wget -q -O - "URL/visit?PLACE&$address"
kill $httpd
ip addr flush dev IF
ip link set IF down
"""


def setup():
    guest.prepare(KERNEL_OF)
    why = sandbox.enter()
    if why:
        raise unittest.SkipTest(why)


class _Cells(unittest.TestCase):
    """A mode; a case for each row."""

    mode_name = mode = started = None

    @classmethod
    def setUpClass(cls):
        if cls.mode_name == "tap" and (why := matrix_modes.why_no_tap()):
            raise unittest.SkipTest(why)
        before = dict(os.environ)
        cls.addClassCleanup(lambda: (os.environ.clear(), os.environ.update(before)))
        cls.mode = matrix_modes.CLASSES[cls.mode_name]()
        cls.addClassCleanup(cls.mode.close)
        os.environ.update(cls.mode.environment())
        cls.started = {}

    def once(self, name, start):
        """What start() returned for the first case that asked; its failure is that of all."""
        if name not in self.started:
            self.started[name] = None
            self.started[name] = start()
        if not self.started[name]:
            self.fail(f"{name} did not start")
        return self.started[name]

    @classmethod
    def directory(cls):
        temporary = tempfile.TemporaryDirectory(prefix="ringplug-matrix-")
        cls.addClassCleanup(temporary.cleanup)
        pathlib.Path(temporary.name).chmod(0o755)
        return temporary.name

    @classmethod
    def locator(cls, row, bootfile=None):
        """What stands for LOCATOR in the row's command; its door is opened."""
        return cls.mode.locator(PLACE[row], bootfile)

    @classmethod
    def command(cls, row, **replaced):
        """The row's command with other names, the mode's locator, and a path here for the door."""
        text = row.command
        for what, by in replaced.items():
            text = text.replace(what, by)
        if row.door:
            directory = pathlib.Path(cls.directory(), str(PLACE[row]))
            scheme, _, path = row.door.partition(":")
            switch = switch_process.Switch(
                0, cls.locator(row), name=f"vm{PLACE[row]}", more_doors=[f"{scheme}:{directory}"],
                runtime=os.environ.get("XDG_RUNTIME_DIR"))
            cls.addClassCleanup(switch.close)
            switch.start()
            text = text.replace(path, str(directory))
        else:
            text = text.replace("LOCATOR", cls.locator(row))
        return text

    def script(self, row, interface, dhcp, www="/tmp/www"):
        place = PLACE[row]
        text = SCRIPT.replace("IF", interface).replace("DHCP", dhcp).replace("WWW", www)
        text = text.replace("GATEWAY", self.mode.gateway(place))
        return text.replace("URL", self.mode.url(place)).replace("PLACE", str(place))

    def seen(self, row, said):
        """Checks what the script printed."""
        if not re.search(r"lease=10\.[0-9.]+/", said):
            self.fail(f"no lease:\n{said}\n{self.mode.state()}")
        self.assertIn("2 packets received", said)
        self.assertIn(matrix_modes.PAGE.decode(), said)
        self.assertIn(f"{GUEST_PAGE} {PLACE[row]}\n", said)

    # QEMU

    @classmethod
    def start_qemu(cls):
        arguments = []
        for row in matrix.QEMU:
            place = PLACE[row]
            words = shlex.split(cls.command(row, n0=f"n{place}", c0=f"c{place}"))
            words[-1] += f",mac={matrix_modes.MAC.format(place)},romfile="
            arguments += words
        vm = guest.Guest(None, (), *arguments, kernel_of=KERNEL_OF)
        cls.addClassCleanup(vm.close)
        vm.start()
        return vm

    def run_qemu(self, row):
        self.vm = self.once("qemu", self.start_qemu)
        self.mode.served(PLACE[row])
        mac = matrix_modes.MAC.format(PLACE[row])
        interface = self.vm.ok("for i in /sys/class/net/*; do "
                               f"grep -q {mac} $i/address && basename $i; done; true").strip()
        self.seen(row, self.vm.run(self.script(row, interface, "/bin/dhcp-event"), 60)[1])

    # Bochs

    @classmethod
    def start_bochs(cls):
        """Boots iPXE, which uses one card after the other and tells what it has got."""
        blob = b"".join(hosts.payload(BLOB_SIZE, "matrix"))
        lines, script = [], "#!ipxe\n"
        for number, row in enumerate(matrix.BOCHS):
            place, net = PLACE[row], f"net{number}"
            url = cls.mode.url(place)
            locator = cls.locator(row, f"{url}/boot.ipxe" if number == 0 else None)
            lines.append(row.command.replace("LOCATOR", locator)
                         .replace(bochs.MAC, matrix_modes.MAC.format(place)))
            script += (f"dhcp {net} || goto end{number}\n"
                       f"imgfetch {url}/blob?{place} || goto end{number}\nimgfree\n"
                       f"imgfetch {url}/done?{place}&${{{net}/ip}}\n"
                       f":end{number}\nimgfree\nifclose {net}\n")
        slots = ", ".join(f"slot{n + 1}={row.command.split(':')[0]}"
                          for n, row in enumerate(matrix.BOCHS))
        cls.mode.pages.update({"/blob": blob, "/boot.ipxe": script.encode()})
        vm = bochs.Bochs(f"pci: enabled=1, chipset=i440fx, {slots}", *lines, cdrom=bochs.IPXE)
        cls.addClassCleanup(vm.close)
        vm.start()
        for row in matrix.BOCHS:
            cls.mode.served(PLACE[row])
        vm.wait(90)
        return vm

    def run_bochs(self, row):
        if why := bochs.why_not():
            self.skipTest(why)
        vm = self.once("bochs", self.start_bochs)
        asked = dict(self.mode.http.requests)
        self.assertEqual(asked.get(f"/blob?{PLACE[row]}"), BLOB_SIZE,
                         f"{asked}\n{vm.diagnostics()}")
        self.assertTrue([p for p in asked if p.startswith(f"/done?{PLACE[row]}&10.")], asked)

    # User-mode Linux

    def run_uml(self, row):
        if why := uml.available():
            self.skipTest(why)
        network = self.command(row).partition("=")[2].replace(
            "52:54:00:12:34:56", matrix_modes.MAC.format(PLACE[row]))
        try:
            said = uml.run(network, self.script(row, "eth0", "/dhcp"),
                           started=lambda: self.mode.served(PLACE[row]))
        except uml.Unable as why:
            self.skipTest(str(why))
        self.seen(row, said)

    # A network namespace

    def run_netns(self, row):
        # Both make a user namespace and a tap in it; some containers forbid the one or the other.
        done = subprocess.run(["vdens", "no", "true"], timeout=20, stdin=subprocess.DEVNULL,
                              capture_output=True)
        if done.returncode != 0:
            self.skipTest(f"vdens can't work here: {done.stderr.decode().strip()}")
        command = shlex.split(self.command(row))
        interface = "vde0"
        if command[0] == "ringplug":
            command[0], interface = str(switch_process.RINGPLUG), "eth0"
            # The sandbox's is a file that is unlinked, over which nothing can be mounted.
            command.insert(2, "--keep-resolv-conf")
        directory = self.directory()
        dhcp = pathlib.Path(directory, "dhcp")
        # The guests' own, but for the host's resolv.conf.
        dhcp.write_text((guest.HERE / "guest_dhcp.sh").read_text().replace("/etc/", directory + "/"))
        dhcp.chmod(0o755)
        # vdens 0.2 blocks SIGCHLD only while it waits for frames and misses a command that ends
        # while it moves one: so the script ends a second after its last.
        script = self.script(row, interface, str(dhcp), f"{directory}/www") + "sleep 1\n"
        process = subprocess.Popen(
            qemu.tied([*command, "busybox", "sh", "-c", script]),
            env=qemu.environment(), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.mode.served(PLACE[row])
            said = process.communicate(timeout=60)[0]
        finally:
            # It moves frames in a child of its own, which would outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.seen(row, said)


def _cell(row, mode):
    run = {matrix.QEMU: "run_qemu", matrix.BOCHS: "run_bochs", matrix.UML: "run_uml",
           matrix.NETNS: "run_netns"}
    name = next(n for rows, n in run.items() if row in rows)

    def case(self):
        getattr(self, name)(row)
    case.__doc__ = f"{row.name} on {mode}: {row.seen}"
    return case


def _mode(name):
    members = {f"test_{row.slug}": _cell(row, name) for row in matrix.ROWS}
    return type(name.capitalize(), (_Cells,), {"mode_name": name, "__module__": __name__, **members})


Slirp, Switch, Tap = (_mode(name) for name in matrix.MODES)


if __name__ == "__main__":
    tap.main(setup)
