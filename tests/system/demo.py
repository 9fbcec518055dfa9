# SPDX-License-Identifier: BSD-3-Clause
"""demo.py - boots a guest on ringplug://slirp and shows that it is on the network, both ways."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import time

import guest
import hosts
import qemu

PAGE = b"Hello, guest! This page comes from an HTTP server on the host's loopback.\n"
GUEST_PAGE = "Hello, host! This page comes from an HTTP server in the guest."
STARTED = time.monotonic()


def say(text=""):
    print(text, flush=True)


def step(text):
    say(f"\n[{time.monotonic() - STARTED:5.1f} s] {text}")


def show(where, command, output):
    """Prints a command and what it said, as in a terminal."""
    say(f"  {where}$ {command}")
    for line in output.rstrip("\n").splitlines():
        say(f"  {line}")


def guest_command(vm, command):
    status, output = vm.run(command)
    show("guest", command, output)
    return output if status == 0 else ""


def fetch(port):
    """What an HTTP server on the host's loopback answers to GET /."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(10)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while data := s.recv(65536):
            answer += data
    return answer.decode(errors="replace").replace("\r", "")


def network_part(command):
    """The end of QEMU's command line that makes the network, quoted for a shell."""
    return " ".join(f"'{arg}'" if "?" in arg else arg for arg in command[command.index("-netdev"):])


def run(card):
    step("preparing a kernel and an initramfs (downloaded once, then cached)")
    guest.prepare(card)
    happened = {}
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(hosts.Http({"/": PAGE}))
        forwarded = hosts.free_port()
        vm = guest.Guest(card, [("hostfwd", f"tcp:127.0.0.1:{forwarded}-:80")],
                         on=os.environ.get("RINGPLUG_NETDEV", "ringplug"))
        step("booting the guest in the distribution's QEMU, without KVM: 5 to 20 seconds")
        stack.enter_context(vm)
        say(f"  host$ VDEPLUGIN_PATH={os.path.relpath(qemu.PLUGIN_DIR)} {qemu.QEMU} ... \\\n"
            f"          {network_part(vm.command)}")

        step("the guest asks for an address by DHCP")
        with contextlib.suppress(AssertionError):
            lease = vm.dhcp()
            show("guest", "udhcpc -i eth0", "\n".join(f"{k}: {v}" for k, v in lease.items() if v))
            happened["the guest got its address by DHCP"] = lease["lease"].startswith("10.0.2.")
        guest_command(vm, "ip -4 addr show eth0")

        step("the guest fetches a page from the host through NAT (10.0.2.2 is the host's loopback)")
        page = guest_command(vm, f"timeout 20 wget -q -O - http://10.0.2.2:{http.port}/")
        happened["the guest fetched a page from the host"] = page.encode() == PAGE

        step("the host fetches a page from the guest through hostfwd")
        vm.ok(f"mkdir -p /www && echo '{GUEST_PAGE}' >/www/index.html && httpd -p 80 -h /www")
        answer = ""
        with contextlib.suppress(OSError):
            answer = fetch(forwarded)
        say(f"  host: GET http://127.0.0.1:{forwarded}/")
        say("".join(f"  {line}\n" for line in answer.splitlines()).rstrip("\n"))
        happened["the host fetched a page from the guest"] = GUEST_PAGE in answer

        step("powering the guest off")
        happened["QEMU ended by itself with 0"] = vm.poweroff() == 0
        if vm.output():
            say(f"  QEMU said: {vm.output()}")
    return happened


def interrupted(signum, _frame):
    raise KeyboardInterrupt(f"signal {signum}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", default="e1000", choices=sorted(guest.CARDS))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)  # so that what was started is ended
    expected = ["the guest got its address by DHCP", "the guest fetched a page from the host",
                "the host fetched a page from the guest", "QEMU ended by itself with 0"]
    try:
        if os.environ.get("RINGPLUG_NETDEV", "ringplug") == "ringplug" and not qemu.PLUGIN.exists():
            raise qemu.QemuError(f"{qemu.PLUGIN} is not built")
        happened = run(arguments.card)
    except (qemu.QemuError, AssertionError, OSError) as err:
        say(f"\nfailed: {err}")
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 1
    say()
    for what in expected:
        say(f"{'yes' if happened.get(what) else 'NO '}  {what}")
    return 0 if all(happened.get(what) for what in expected) else 1


if __name__ == "__main__":
    sys.exit(main())
