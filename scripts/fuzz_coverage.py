# SPDX-License-Identifier: BSD-3-Clause
# fuzz_coverage.py - the share of lines of parsers and rings that the fuzz corpora reach.
#
#   fuzz_coverage.py BUILD HARNESS...     of a build with -fprofile-instr-generate and
#                                         -fcoverage-mapping
import json
import os
import subprocess
import sys

BAR = 90
# Each file, and why it stays below the bar where it does.
FILES = {
    "backend/device_ring.cc": "",
    "backend/guest_memory.cc": "mmap and fcntl that fail; SIGBUS'd pages",
    "backend/locator.cc": "",
    "backend/net_queue.cc": "",
    "backend/packed_ring.cc": "",
    "backend/packed_ring.h": "",
    "backend/settings.cc": "",
    "backend/split_ring.cc": "",
    "backend/split_ring.h": "",
    "backend/tracked_packed_ring.cc": "",
    "backend/tracked_split_ring.cc": "",
    "backend/vhost_user/channel.cc": "a socket that fails in the middle of a message",
    "backend/vhost_user/device.cc": "",
    "backend/vhost_user/device_memory.cc": "",
    "backend/vhost_user/inflight.cc": "memfd_create that fails",
    "backend/vhost_user/state_file.cc": "a file that is locked, another's or has no room",
    "backend/vhost_user/virtqueue.cc": "",
    "backend/vlan_list.cc": "",
    "slirp/forward.cc": "",
    "slirp/fragments.cc": "",
    "slirp/guard.cc": "",
    "slirp/guard_ipv4.cc": "",
    "slirp/guard_ipv6.cc": "",
    "slirp/guard_l4.cc": "",
    "slirp/guard_nat.cc": "",
    "slirp/guard_services.cc": "",
    "slirp/options.cc": "",
    "slirp/owners.cc": "",
    "slirp/seq_trap.cc": "",
    "sockets/stream_options.cc": "",
    "sockets/stream_port.cc": "",
    "sockets/stream_socket.cc": "",
    "sockets/vde_options.cc": "",
    "sockets/vde_request.cc": "",
    "switch/checksum.cc": "",
    "switch/coalesce.cc": "",
    "switch/flow.cc": "",
    "switch/mac_table.cc": "sizes that are refused, ports held back, the old making room",
    "switch/offload.cc": "",
    "switch/switch.cc": "queues' lengths, ports held back, frames left to finish",
    "switch/vlan_forms.cc": "",
    "tap/options.cc": "",
    "tools/line_server.cc": "descriptors that run out; timeouts",
    "tools/vde_console.cc": "load and shutdown, which reach out of the switch",
    "tools/vde_console_ports.cc": "",
}


def replay(build, name):
    profile = f"{build}/{name}.profraw"
    folders = [f"fuzz/{kind}/{name}" for kind in ("corpus", "regressions")]
    folders = [f for f in folders if os.path.isdir(f)]
    subprocess.run([f"{build}/fuzz/fuzz_{name}", "-runs=0", "-timeout=30", *folders], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "LLVM_PROFILE_FILE": os.path.abspath(profile)})
    return profile


def main():
    build, names = sys.argv[1], sys.argv[2:]
    profiles = [replay(build, name) for name in names]
    merged = f"{build}/all.profdata"
    subprocess.run(["llvm-profdata", "merge", "-sparse", *profiles, "-o", merged], check=True)
    programs = [f"{build}/fuzz/fuzz_{name}" for name in names]
    library = f"{build}/api/libringplug.so"
    objects = [o for p in [*programs[1:], library] for o in ("-object", p)]
    out = subprocess.run(["llvm-cov", "export", "-summary-only", f"-instr-profile={merged}",
                          programs[0], *objects], check=True, capture_output=True, text=True)
    lines = {}
    for file in json.loads(out.stdout)["data"][0]["files"]:
        lines[os.path.relpath(file["filename"])] = file["summary"]["lines"]
    below = 0
    print(f"{'file':<38} {'lines':>6} {'reached':>8}")
    for name, reason in FILES.items():
        if name not in lines:
            print(f"{name:<38} no such file in the build")
            below += 1
            continue
        share = lines[name]["percent"]
        note = "" if share >= BAR else reason or "below the bar"
        below += share < BAR and not reason
        print(f"{name:<38} {lines[name]['count']:>6} {share:>7.1f}%  {note}".rstrip())
    total = sum(lines[n]["count"] for n in FILES if n in lines)
    reached = sum(lines[n]["covered"] for n in FILES if n in lines)
    print(f"{'together':<38} {total:>6} {100 * reached / max(total, 1):>7.1f}%")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
