# SPDX-License-Identifier: BSD-3-Clause
"""bench_bochs.py - HTTP in Bochs: iPXE on Bochs' own ethmod=slirp and on ethmod=ringplug.

The two take turns, each booted anew; a file of 10 MiB is fetched some times in each boot, and the
time from one request to the next counts. A boot is compared with the one beside it: the speed of a
machine that others use too changes more from minute to minute than between the two.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

import bochs
import hosts
import sandbox

PCI = "pci: enabled=1, chipset=i440fx, slot1={}"
KINDS = ("slirp", "ringplug")


def line(card, kind, directory):
    if kind == "ringplug":
        return bochs.card(card, kind, f"slirp?tftp={directory}&bootfile=/boot.ipxe")
    # Bochs' own: ethdev is the folder for TFTP, script a file of options.
    options = pathlib.Path(directory) / "slirp.conf"
    options.write_text("# slirp config\nbootfile=/boot.ipxe\n")
    return bochs.card(card, kind, directory, script=str(options))


def fetch(card, kind, blob, times):
    """MiB/s of each transfer in one boot."""
    with hosts.Http({"/blob": blob, "/done": b"#!ipxe\n"}) as http, \
            tempfile.TemporaryDirectory(prefix="ringplug-tftp-") as directory:
        url = f"http://10.0.2.2:{http.port}"
        # The first warms caches and is not counted.
        fetches = "".join(f"imgfetch {url}/blob?{n} || exit\nimgfree\n" for n in range(times + 1))
        pathlib.Path(directory).chmod(0o755)
        (pathlib.Path(directory) / "boot.ipxe").write_text(
            f"#!ipxe\n{fetches}imgfetch {url}/done?{times + 1}\n")
        with bochs.Bochs(PCI.format(card), line(card, kind, directory), cdrom=bochs.IPXE) as vm:
            vm.wait(300)
        if len(http.times) != times + 2:
            raise bochs.BochsError(f"{kind}: {http.requests} came\n{vm.diagnostics()}")
        return [len(blob) / (1 << 20) / (b - a) for a, b in zip(http.times[1:], http.times[2:])]


def summary(values, digits):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}..{max(values):.{digits}f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--boots", type=int, default=3)
    parser.add_argument("--times", type=int, default=3, help="transfers in each boot")
    parser.add_argument("--size", type=int, default=10, help="MiB of a transfer")
    parser.add_argument("--cards", default="e1000,ne2k,pcipnic")
    arguments = parser.parse_args()
    why = bochs.why_not() or sandbox.enter()
    if why:
        print(f"Bochs is not measured: {why}", file=sys.stderr)
        return 1
    blob = bytes(arguments.size << 20)
    print(f"HTTP to iPXE in Bochs, {arguments.size} MiB, {arguments.boots} boots in turns of "
          f"{arguments.times}; MiB/s: median (min..max)")
    print(f"{'card':<10} {'ethmod=slirp':>20} {'ethmod=ringplug':>20}  "
          f"ratio: median of the turns (min..max)")
    for card in arguments.cards.split(","):
        rates = {kind: [] for kind in KINDS}
        for number in range(arguments.boots):
            # Whoever goes first in one turn goes last in the next.
            for kind in sorted(KINDS, reverse=number % 2 == 0):
                rates[kind].append(fetch(card, kind, blob, arguments.times))
        cells = [summary([rate for boot in rates[kind] for rate in boot], 1) for kind in KINDS]
        ratios = [statistics.median(ours) / statistics.median(own)
                  for own, ours in zip(*(rates[kind] for kind in KINDS))]
        print(f"{card:<10} {cells[0]:>20} {cells[1]:>20}  {summary(ratios, 2)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
