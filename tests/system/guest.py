# SPDX-License-Identifier: BSD-3-Clause
"""guest.py - boots a Debian kernel with busybox and runs shell scripts in it.

The kernel packages are downloaded into a cache and unpacked there, never installed. The cloud
kernel is the quicker one, but of QEMU's cards it has drivers for virtio-net and vmxnet3 only;
e1000, rtl8139 and ne2k_pci need the general kernel.
"""

import base64
import contextlib
import fcntl
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import qemu

HERE = pathlib.Path(__file__).resolve().parent
CLOUD = "linux-image-cloud-amd64"
GENERAL = "linux-image-amd64"
# QEMU's name of a card: (package with the kernel, its drivers)
CARDS = {
    "virtio-net-pci": (CLOUD, ["virtio_pci", "virtio_net"]),
    "vmxnet3": (CLOUD, ["vmxnet3"]),
    "e1000": (GENERAL, ["e1000"]),
    "rtl8139": (GENERAL, ["8139cp"]),
    "ne2k_pci": (GENERAL, ["ne2k_pci"]),
}
# The general kernel drives all cards at once.
MORE = {GENERAL: ["virtio_pci", "virtio_net"]}
# Modular in some kernels, built in in others.
USEFUL = ["af_packet", "ipv6"]
MAC = "52:54:00:12:34:56"
# What SLAAC makes of that MAC in slirp's default prefix.
ADDRESS6 = "fec0::5054:ff:fe12:3456"
ADDRESS4 = "10.0.2.15"


def cache_dir():
    return (qemu.ROOT / os.environ.get("RINGPLUG_CACHE", qemu.BUILD / "guest-cache")).resolve()


def _output(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise qemu.QemuError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _real_package(meta):
    """The package with the files, which the meta package depends on."""
    shown = _output("apt-cache", "--no-all-versions", "show", meta)
    depends = re.search(r"^Depends: (linux-image-\S+)", shown, re.M)
    if not depends:
        raise qemu.QemuError(f"{meta} depends on no kernel package")
    return depends.group(1)


def _module_name(path):
    return re.sub(r"\.ko(\.\w+)?$", "", path.name).replace("-", "_")


def _module_bytes(path):
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix != ".ko":
        raise qemu.QemuError(f"{path.name}: unknown compression")
    return data


def _drivers(meta):
    return (USEFUL + [d for m, drivers in CARDS.values() if m == meta for d in drivers]
            + MORE.get(meta, []))


def _has_kernel(meta, where):
    """Whether the cache holds this kernel with all the drivers that CARDS names today."""
    with contextlib.suppress(FileNotFoundError):
        return (where / "wanted").read_text() == " ".join(_drivers(meta))
    return False


def _fetch_kernel(meta, where):
    """Leaves `where`/vmlinuz and `where`/modules, a list and the files in it, in loading order."""
    package = _real_package(meta)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=where.parent) as temporary:
        temporary = pathlib.Path(temporary)
        # apt's own user can't write into this directory.
        sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        _output("apt-get", "-qq", *sandbox, "download", package, cwd=temporary)
        (deb,) = temporary.glob("*.deb")
        tree = temporary / "tree"
        _output("dpkg-deb", "-x", str(deb), str(tree))
        ready = temporary / "ready"
        (ready / "modules").mkdir(parents=True)
        (vmlinuz,) = tree.glob("boot/vmlinuz-*")
        shutil.copyfile(vmlinuz, ready / "vmlinuz")
        found = {_module_name(p): p for p in tree.rglob("*.ko*")}
        order = []

        def want(name):
            if name in order or name not in found:
                return  # not there: built in, or this kernel has no such driver
            data = _module_bytes(found[name])
            # Each module names its own needs; the package has no modules.dep.
            for need in re.search(rb"\0depends=([^\0]*)\0", data).group(1).decode().split(","):
                want(need.replace("-", "_"))
            (ready / "modules" / f"{name}.ko").write_bytes(data)
            order.append(name)

        for name in _drivers(meta):
            want(name)
        (ready / "wanted").write_text(" ".join(_drivers(meta)))
        (ready / "modules" / "list").write_text("\n".join(order) + "\n")
        ready.rename(where)


class _Cpio:
    """Writes the 'newc' archive that the kernel unpacks as its root."""

    def __init__(self):
        self.data = bytearray()
        self._inode = 0

    def add(self, name, content=b"", mode=0o100644, device=(0, 0)):
        self._inode += 1
        raw = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(raw), 0)
        self.data += b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        self._pad()
        self.data += content
        self._pad()

    def _pad(self):
        self.data += b"\0" * (-len(self.data) % 4)

    def directory(self, name):
        self.add(name, mode=0o040755)

    def finish(self):
        self.add("TRAILER!!!", mode=0)
        return bytes(self.data)


def _busybox():
    path = shutil.which("busybox")
    if not path or b"/ld-linux" in pathlib.Path(path).read_bytes()[:4096]:
        raise qemu.QemuError("no static busybox here: install busybox-static")
    return pathlib.Path(path).read_bytes()


def _guest_net(cache, source):
    """The static helper, compiled once for each text of its source."""
    binary = cache / f"guest_net-{hashlib.sha256(source).hexdigest()[:16]}"
    if not binary.exists():
        temporary = cache / f"{binary.name}.new"
        _output("gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(temporary),
                str(HERE / "guest_net.c"))
        temporary.rename(binary)
    return binary.read_bytes()


def _initrd(cache, kernel):
    files = {"init": (HERE / "guest_init.sh").read_bytes(),
             "bin/dhcp-event": (HERE / "guest_dhcp.sh").read_bytes(),
             "bin/busybox": _busybox(),
             "bin/guest_net": _guest_net(cache, (HERE / "guest_net.c").read_bytes())}
    modules = {f"modules/{p.name}": p.read_bytes() for p in (kernel / "modules").iterdir()}
    archive = _Cpio()
    for name in ("bin", "dev", "etc", "modules", "proc", "sys", "tmp"):
        archive.directory(name)
    # The kernel opens it for /init before devtmpfs is mounted.
    archive.add("dev/console", mode=0o020600, device=(5, 1))
    for name, content in files.items():
        archive.add(name, content, 0o100755)
    for name, content in sorted(modules.items()):
        archive.add(name, content)
    data = archive.finish()
    path = kernel / f"initrd-{hashlib.sha256(data).hexdigest()[:16]}"
    if not path.exists():
        for old in kernel.glob("initrd-*"):
            old.unlink()
        temporary = kernel / "new-initrd"
        temporary.write_bytes(data)
        temporary.rename(path)
    return path


def prepare(*cards):
    """Fetches and builds what guests with these cards boot from; at first over the network."""
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test programs run side by side
        images = {}
        for card in cards:
            meta = CARDS[card][0]
            kernel = cache / meta
            if meta not in images:
                if not _has_kernel(meta, kernel):
                    shutil.rmtree(kernel, ignore_errors=True)
                    print(f"# fetching {meta} ...", file=sys.stderr, flush=True)
                    _fetch_kernel(meta, kernel)
                images[meta] = (kernel / "vmlinuz", _initrd(cache, kernel))
            _images[card] = images[meta]


_images = {}


class Guest(qemu.Qemu):
    """A booted guest. `card` is None for a guest without one; `kernel_of` then picks the kernel."""

    def __init__(self, card="virtio-net-pci", options=(), *extra, on=None, kernel_of=None):
        vmlinuz, initrd = _images[card or kernel_of]
        args = ["-kernel", str(vmlinuz), "-initrd", str(initrd), "-append",
                "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on"]
        if card:
            args += ["-netdev", qemu.netdev("slirp", options, on=on),
                     "-device", f"{card},netdev=n0,mac={MAC},romfile="]
        super().__init__(*args, *extra, agent=True)
        self._buffer = b""
        self._scripts = 0

    def start(self):
        super().start()
        try:
            self._until(rb"@@hello\n", 90)
        except BaseException as err:
            said = self.diagnostics()
            self.close()
            if isinstance(err, qemu.QemuError):
                raise qemu.QemuError(f"{err}\n{said}") from None
            raise

    def _until(self, pattern, timeout):
        """Reads the agent's line up to a match; returns (what was before, the match)."""
        deadline = time.monotonic() + timeout
        while not (match := re.search(pattern, self._buffer)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise qemu.QemuError(f"guest: nothing like {pattern} within {timeout} s; got "
                                     f"{self._buffer[-300:]}")
            if self.readable(self.agent, min(left, 1)):
                with contextlib.suppress(ConnectionError):
                    if data := self.agent.recv(65536):
                        self._buffer += data
                        continue
                raise qemu.QemuError("guest: QEMU has gone")
        before = self._buffer[:match.start()]
        self._buffer = self._buffer[match.end():]
        return before, match

    def begin(self, script, timeout=20):
        """Sends a script, which is killed after that time; `finish` waits for it."""
        self._scripts += 1
        self._end_by = time.monotonic() + timeout + 5
        encoded = base64.b64encode(script.encode())
        self.agent.sendall(b"%d %d %s\n" % (self._scripts, timeout, encoded))
        self._until(rb"@@begin %d\n" % self._scripts, 20)

    def expect(self, pattern, timeout=20):
        """Waits until the running script has printed this; returns the match."""
        return self._until(pattern.encode(), timeout)[1]

    def finish(self):
        """Waits for the script's end; returns (exit status, what it printed since)."""
        before, match = self._until(rb"\n@@end %d (\d+)\n" % self._scripts,
                                    self._end_by - time.monotonic())
        return int(match.group(1)), before.decode(errors="replace")

    def run(self, script, timeout=20):
        """Runs a script; returns (exit status, output)."""
        self.begin(script, timeout)
        return self.finish()

    def ok(self, script, timeout=20):
        """Runs a script that must succeed; returns its output."""
        status, output = self.run(script, timeout)
        if status != 0:
            raise AssertionError(f"guest: {script!r} ended with {status}:\n{output}")
        return output

    def dhcp(self, interface="eth0"):
        """Gets a lease; returns {'lease': '10.0.2.15/24', 'router': ..., 'dns': ..., ...}."""
        text = self.ok(f"ip link set {interface} up && udhcpc -i {interface} -n -q -f -t 10 -T 1 "
                       "-O search -O mtu -s /bin/dhcp-event 2>&1", 30)
        line = re.search(r"^lease=.*", text, re.M)
        if not line:
            raise AssertionError(f"guest: no lease:\n{text}")
        return dict(re.findall(r"(\w+)=(.*?)(?= \w+=|$)", line.group(0)))

    def poweroff(self):
        """Shuts the guest down; returns QEMU's exit status."""
        with contextlib.suppress(qemu.QemuError):
            self.begin("poweroff -f")
        return self.wait(20)
