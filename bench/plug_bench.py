# SPDX-License-Identifier: BSD-3-Clause
"""plug_bench.py - two ringplug://switch: plugs beside two libvdeplug clients of vde_switch.

The switches take turns on core 0, whoever sends and receives runs on core 1. Plugs send and receive
in batches; libvdeplug has a call a frame. With --crowd: the same plugs among 1,000, with 60,000
addresses learned, beside themselves alone. With --stuck: the same plugs beside three that never
take a frame, while one frame in 64 is for everybody.
"""

import sys

from vde_bench import Broadcasts, Cell, Stuck, VdeSwitch, compare, parser_of
from vhost_bench import BUILD, POLL_FOREVER_US, BackEnd, polling


class Plugs(BackEnd):
    name = "plugs"

    def sockets(self):
        return [self.directory / "ringplug" / "bench.plug"]

    def command(self):
        return ["env", f"XDG_RUNTIME_DIR={self.directory}", BUILD / "tools" / "ringplug", "switch",
                "bench", "--mac-entries=65536", *polling(self.cell)]

    def generator(self):
        return ["env", f"XDG_RUNTIME_DIR={self.directory}", BUILD / "bench" / "plug_gen",
                "--plug", "switch:bench?start=off", *self.cell.generator]


CELLS = [
    Cell("as many as go, 60 B", ["--flood", "--size", 60], ("frames/s", "lost")),
    Cell("as many as go, 1500 B", ["--flood", "--size", 1500], ("frames/s", "lost")),
    Cell("one at a time, 60 B", ["--interval-us", 50, "--size", 60], ("p50", "p99")),
    Cell("one at a time, 60 B, polling", ["--interval-us", 50, "--size", 60], ("p50", "p99"),
         poll_us=POLL_FOREVER_US),
]


class Crowd(Plugs):
    name = "plugs in a crowd"

    def generator(self):
        return [*super().generator(), "--crowd", 998]


class Alone(Plugs):
    name = "plugs alone"


class AloneWithBroadcasts(Broadcasts, Alone):
    pass


class BesideStuck(Stuck, Plugs):
    name = "plugs beside stuck ones"


def main():
    parser = parser_of(__doc__)
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--crowd", action="store_true", help="among 1,000 plugs, 60,000 addresses")
    others.add_argument("--stuck", action="store_true", help="beside plugs that take nothing")
    arguments = parser.parse_args()
    if arguments.crowd:
        # A switch that polls looks at each of its ports in turn, which is not for a thousand.
        asleep = [c for c in CELLS if c.poll_us is None]
        return compare(arguments, asleep, Crowd, Alone)
    if arguments.stuck:
        return compare(arguments, CELLS[:2], BesideStuck, AloneWithBroadcasts)
    return compare(arguments, CELLS, Plugs, VdeSwitch)


if __name__ == "__main__":
    sys.exit(main())
