# SPDX-License-Identifier: BSD-3-Clause
"""switch_process.py - runs `ringplug switch` for tests and benchmarks, and ends it."""

import pathlib
import select
import subprocess
import tempfile

import guest
import qemu

RINGPLUG = qemu.BUILD / "tools" / "ringplug"
NAME = "lan0"


class Switch:
    """A switch process with so many vhost-user doors; it can be killed and started again.

    `runtime` is where switches find each other: a directory of its own, if not given.
    """

    def __init__(self, doors, *uplinks, name=NAME, runtime=None, more_doors=()):
        self._temporary = tempfile.TemporaryDirectory(prefix="ringplug-switch-")
        self.directory = pathlib.Path(self._temporary.name)
        self.doors = [str(self.directory / f"vm{i}") for i in range(doors)]
        self.name, self.runtime = name, runtime or str(self.directory)
        self._arguments = [f"--uplink={u}" for u in uplinks]
        self._arguments += [f"--door={d}" for d in more_doors]
        self._arguments += [f"--door=vhost-user:{d}" for d in self.doors]
        self.process = None

    def also(self, *arguments):
        """More arguments of the command line, before it starts."""
        self._arguments += arguments

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def environment(self):
        return dict(qemu.environment(), XDG_RUNTIME_DIR=self.runtime)

    def start(self):
        self.process = subprocess.Popen(
            qemu.tied([str(RINGPLUG), "switch", self.name, *self._arguments]), env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if not select.select([self.process.stdout], [], [], 20)[0]:
            raise qemu.QemuError("ringplug switch does not get ready")
        if self.process.stdout.readline() != "ready\n":
            raise qemu.QemuError("ringplug switch did not start")

    def kill(self):
        """As a crash would."""
        self.process.kill()
        self._reap()

    def end(self):
        """Ends it as a user would; returns its exit status."""
        self.process.terminate()
        return self._reap()

    def _reap(self):
        self.process.stdout.close()
        status = self.process.wait(20)
        self.process = None
        return status

    def show(self):
        shown = subprocess.run([str(RINGPLUG), "show", self.name, "--json"], env=self.environment(),
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        if shown.returncode != 0:
            raise qemu.QemuError(shown.stderr)
        return shown.stdout

    def close(self):
        if self.process:
            qemu.stop(self.process)
            self.process.stdout.close()
        self._temporary.cleanup()


def card(door, mac, packed=False):
    """QEMU's arguments for a virtio-net card at a door. vectors=0: Debian's QEMU 7.2 with TCG ends
    with a fault where a vhost-user card has MSI-X."""
    ring = ",packed=on" if packed else ""
    return ["-object", f"memory-backend-memfd,id=mem,size={MEMORY}M,share=on",
            "-numa", "node,memdev=mem",
            "-chardev", f"socket,id=door,path={door},reconnect=1",
            "-netdev", "vhost-user,id=n0,chardev=door",
            "-device", f"virtio-net-pci,netdev=n0,mac={mac},vectors=0,romfile={ring}"]


MEMORY = 256


def boot(door, mac, packed=False, *extra):
    """A guest at a door, not yet started."""
    return guest.Guest(None, (), *card(door, mac, packed), *extra, kernel_of="virtio-net-pci")
