# SPDX-License-Identifier: BSD-3-Clause
"""uml.py - boots User-mode Linux with busybox; its script prints on the console and halts."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import qemu
import uml_fp

UML = "linux.uml"


class Unable(Exception):
    """The kernel came up, but can't run programs here; the text says why."""


# What must be there before a script runs; the script's output lies between two lines.
_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
ip link set lo up
ip link set eth0 up
echo @@begin
sh /script 2>&1
echo "@@end $?"
halt -f
"""


def available():
    """None, or why it can't run here."""
    if not shutil.which(UML):
        return f"{UML} is not installed (user-mode-linux)"
    if not os.access("/dev/shm", os.W_OK):
        return "/dev/shm is not writable"
    return None


def _initrd(directory, script):
    root = pathlib.Path(directory) / "root"
    for folder in "bin", "proc", "dev", "etc", "tmp":
        (root / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin" / "busybox")
    shutil.copy(pathlib.Path(__file__).with_name("guest_dhcp.sh"), root / "dhcp")
    (root / "init").write_text(_INIT)
    (root / "script").write_text(script)
    for f in "init", "dhcp":
        (root / f).chmod(0o755)
    archive = pathlib.Path(directory) / "initrd"
    names = "\n".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")))
    with open(archive, "wb") as f:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(),
                       stdout=f, check=True)
    return archive


def run(network, script, seconds=120, started=None, device="eth0="):
    """Boots with eth0=NETWORK, or another device, and runs the script; returns what that printed.
    `started` is called when the kernel runs."""
    with tempfile.TemporaryDirectory(prefix="ringplug-uml-") as directory:
        command = [UML, "mem=96M", f"initrd={_initrd(directory, script)}", "rdinit=/init",
                   f"{device}{network}", f"uml_dir={directory}", f"umid=u{os.getpid()}",
                   "con=null", "con0=null,fd:1", "quiet"]
        if uml_fp.needed():
            command = [sys.executable, uml_fp.__file__, *command, uml_fp.KERNEL_ARGUMENT]
        # A group of its own: its threads are processes, which would outlive it.
        process = subprocess.Popen(qemu.tied(command), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=qemu.environment(), start_new_session=True)
        try:
            if started:
                started()
            said = process.communicate(timeout=seconds)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            said = process.communicate()[0].decode(errors="replace")
            raise qemu.QemuError(f"UML still ran after {seconds} s:\n{said[-3000:]}") from None
        except BaseException:
            os.killpg(process.pid, 9)
            raise
        finally:
            qemu.stop(process)
        said = said.replace("\r\n", "\n")
        if "ptrace set fp regs failed" in said:
            raise Unable("this User-mode Linux can't run programs on this processor")
        if "@@begin\n" not in said or "@@end" not in said:
            raise qemu.QemuError(f"UML did not get to its script:\n{said[-3000:]}")
        return said.split("@@begin\n", 1)[1].rsplit("@@end", 1)[0]
