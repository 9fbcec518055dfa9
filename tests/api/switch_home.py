# SPDX-License-Identifier: BSD-3-Clause
"""switch_home.py - switches as processes, each test with a folder of its own for their sockets."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from cli import RINGPLUG, accepted, refused, run

PATIENCE = 60  # seconds; what takes longer hangs


class Switch:
    """A `ringplug switch` that said it is ready."""

    def __init__(self, home, process):
        self.home, self.process, self.pid = home, process, process.pid

    def end(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        return self.process.wait(PATIENCE)


class Home:
    """A runtime directory and the processes that use it; none outlives the test."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="ringplug-test-"))
        self.sockets = self.path / "ringplug"
        self.processes = []
        return self

    def __exit__(self, *_):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait()
            for stream in p.stdout, p.stderr:
                if stream:
                    stream.close()
        shutil.rmtree(self.path)

    def environment(self):
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.path)}

    def popen(self, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, "text": True, "env": self.environment(), **options}
        # What it starts with is the same wherever the test runs.
        options.setdefault("args", [RINGPLUG, *arguments])
        self.processes.append(subprocess.Popen(**options))
        return self.processes[-1]

    def start(self, name, *arguments):
        p = self.popen("switch", name, *arguments)
        line = p.stdout.readline()
        assert line == "ready\n", (line, p.communicate())
        # The main loop runs once it answers; with it, all descriptors are there.
        assert self.show(name)["pid"] == p.pid
        return Switch(self, p)

    def show(self, name):
        return json.loads(accepted("show", "--json", name, XDG_RUNTIME_DIR=str(self.path)))

    def show_text(self, *name):
        return accepted("show", *name, XDG_RUNTIME_DIR=str(self.path))

    def accepted(self, *arguments):
        return accepted(*arguments, XDG_RUNTIME_DIR=str(self.path))

    def run(self, *arguments):
        return run(*arguments, XDG_RUNTIME_DIR=str(self.path))

    def refused(self, code, words, *arguments):
        refused(code, words, *arguments, XDG_RUNTIME_DIR=str(self.path))

    def control(self, name):
        return self.sockets / f"{name}.control"

    def left(self):
        return sorted(p.name for p in self.sockets.iterdir())


def eventually(what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
