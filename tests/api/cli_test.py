# SPDX-License-Identifier: BSD-3-Clause
"""cli_test.py - what the `ringplug` command prints, refuses and would run; speaks TAP.

Usage: cli_test.py RINGPLUG VDEPLUG_MODULE VERSION
"""
import json
import os
import pathlib
import shlex
import stat
import subprocess
import sys
import tempfile

from cli import RINGPLUG, accepted, main, refused, run, test

MODULE = os.path.abspath(sys.argv[2])
VERSION = sys.argv[3]


def would_run(*arguments, **environment):
    """The words of the command line that --print shows, its variables taken off."""
    words = shlex.split(accepted("exec", "--print", *arguments, **environment))
    variables = {}
    while "=" in words[0]:
        name, value = words.pop(0).split("=", 1)
        variables[name] = value
    return words, variables


@test
def help_lists_the_commands():
    for option in "--help", "-h":
        out = accepted(option)
        for word in "exec", "locators", "show", "switch", "vhost-user", "Usage:":
            assert word in out, out


@test
def version():
    assert accepted("--version") == f"ringplug {VERSION}\n"


@test
def no_command_is_wrong_usage():
    r = run()
    assert r.returncode == 2 and "Usage:" in r.stderr and r.stdout == ""


@test
def unknown_command_lists_the_commands():
    refused(2, ["'exek'", "exec", "locators"], "exek")


@test
def commands_have_help():
    assert "--print" in accepted("exec", "--help")
    assert "--json" in accepted("locators", "--help")
    assert "--json" in accepted("show", "--help")
    assert "--door" in accepted("switch", "--help")
    assert "--socket-path" in accepted("vhost-user", "--help")


@test
def locators_shows_every_scheme_and_option():
    out = accepted("locators")
    for scheme in json.loads(accepted("locators", "--json")):
        assert f"{scheme['scheme']} - {scheme['summary']}" in out
        assert f"example  {scheme['example']}\n" in out
        for option in scheme["options"]:
            assert f"  {option['name']}={option['syntax']}" in out, option
            assert option["default"] in out


@test
def locators_columns_are_aligned():
    lines = accepted("locators", "slirp").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("  OPTION "))
    default, text = lines[first].index("DEFAULT"), lines[first].index("WHAT")
    for line, following in zip(lines[first:], lines[first + 1:] + [""]):
        assert len(line) <= 100 and line == line.rstrip(), line
        if line[default - 2:default] == "  ":
            assert line[text - 2:text] == "  " and line[text] != " ", line
        else:  # a wide cell has its line to itself
            assert following[:default].isspace() and following[default] != " ", line


@test
def locators_of_one_scheme():
    out = accepted("locators", "null")
    assert out.startswith("null - ") and "slirp" not in out
    assert [s["scheme"] for s in json.loads(accepted("locators", "--json", "null"))] == ["null"]


@test
def locators_refuses():
    refused(2, ["'slurp'", "slirp", "null"], "locators", "slurp")
    refused(2, ["'null'"], "locators", "slirp", "null")
    refused(2, ["--yaml"], "locators", "--yaml")


@test
def lost_output_is_a_failure():
    with open("/dev/full", "w") as full:
        r = subprocess.run([RINGPLUG, "locators"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert r.returncode == 1 and "No space" in r.stderr, r


@test
def exec_qemu():
    words, _ = would_run("slirp", "--", "qemu-system-x86_64", "-m", "512", "-append", "a 'b' $c")
    assert words == ["qemu-system-x86_64", "-m", "512", "-append", "a 'b' $c",
                     "-netdev", "vde,id=ringplug0,sock=ringplug://slirp",
                     "-device", "virtio-net-pci,netdev=ringplug0"], words


@test
def exec_needs_no_dashes():
    for before in ([], ["--"]):
        words, _ = would_run("slirp", *before, "qemu-system-i386", "-m", "512", "--", "--print")
        assert words[:5] == ["qemu-system-i386", "-m", "512", "--", "--print"], words
        words, _ = would_run("slirp", "--nic", "e1000", *before, "qemu-system-i386")
        assert words[-1].startswith("e1000,"), words
        words, _ = would_run(*before, "slirp", "vdens", "ls", "-l")
        assert words == ["vdens", "ringplug://slirp", "ls", "-l"], words


@test
def exec_doubles_commas_for_qemu_only():
    locator = "slirp?hostname=a,b&domainname=c"
    words, _ = would_run(locator, "--", "/usr/bin/qemu-system-arm")
    assert words[2] == "vde,id=ringplug0,sock=ringplug://slirp?hostname=a,,b&domainname=c", words
    words, _ = would_run(locator, "--", "vdens", "true")
    assert words == ["vdens", "ringplug://" + locator, "true"], words


@test
def exec_nic():
    words, _ = would_run("--nic", "e1000,mac=52:54:00:00:00:01", "slirp", "--", "qemu-system-i386")
    assert words[-1] == "e1000,mac=52:54:00:00:00:01,netdev=ringplug0", words
    refused(2, ["e1000", "vdens", "bochs"], "exec", "--nic=e1000", "slirp", "--", "vdens")


@test
def exec_bochs():
    words, variables = would_run("slirp?dnssearch=a,b", "--", "bochs", "-q", "-f", "my bochsrc")
    assert words == ["bochs", "-q", "-f", "my bochsrc",
                     'e1000: mac=52:54:00:12:34:56, enabled=1, ethmod=ringplug, '
                     'ethdev="slirp?dnssearch=a,b"'], words
    assert list(variables) == ["LTDL_LIBRARY_PATH"], variables
    path = variables["LTDL_LIBRARY_PATH"].split(":")
    assert os.path.samefile(path[0], os.path.dirname(os.path.realpath(MODULE))), path
    # Without Bochs' own folder it would find no card.
    assert all(p.endswith("/bochs/plugins") for p in path[1:]), path
    words, _ = would_run("--nic=ne2k,card=1,mac=52:54:00:00:00:01", "null", "--", "bochs-bin")
    assert words == ["bochs-bin", "ne2k: card=1,mac=52:54:00:00:00:01, enabled=1, "
                     'ethmod=ringplug, ethdev="null"'], words
    words, _ = would_run("switch:lan0", "--", "bochs", 'pcipnic: ethmod=ringplug, ethdev="{}"')
    assert words == ["bochs", 'pcipnic: ethmod=ringplug, ethdev="switch:lan0"'], words
    _, variables = would_run("slirp", "--", "bochs", LTDL_LIBRARY_PATH="/a:/b")
    assert variables["LTDL_LIBRARY_PATH"].split(":")[1:] == ["/a", "/b"], variables


@test
def exec_bochs_refuses_what_bochsrc_cant_say():
    for locator, mended in (('slirp?hostname="', "%22"), ("slirp?hostname=$HOME", "%24"),
                            ("slirp?dnssearch=a,,b", ",%2C"),
                            ("slirp?bootfile=%61" + "&ipv6=on" * 80, "503")):
        refused(2, ["Bochs", mended], "exec", "--print", locator, "--", "bochs")


@test
def exec_uml():
    words, variables = would_run("slirp?dnssearch=a,b", "--", "linux.uml", "mem=64M")
    assert words == ["linux.uml", "mem=64M", "eth0=vde,ringplug://slirp?dnssearch=a%2Cb"], words
    assert list(variables) == ["VDEPLUGIN_PATH"], variables
    words, _ = would_run("switch:lan0", "--", "linux.uml", "eth0=vde,/tmp/vde.ctl")
    assert words[-1] == "eth1=vde,ringplug://switch:lan0", words


@test
def exec_takes_what_the_library_takes():
    for locator in ("slirp?isolated=on", "null?vlan=3", "switch:lan0?start=no", "slirp?isolate=on"):
        words, _ = would_run(locator, "--", "qemu-system-i386")
        assert words[2].endswith("ringplug://" + locator), words
    refused(2, ["hostfwd=nonsense"], "exec", "--print", "slirp?hostfwd=nonsense", "--", "qemu")


@test
def exec_picks_a_free_id():
    words, _ = would_run("slirp", "--", "qemu-system-i386", "-netdev", "user,id=ringplug0")
    assert words[-3].startswith("vde,id=ringplug1,") and words[-1].endswith("netdev=ringplug1")


@test
def exec_other_programs():
    words, _ = would_run("slirp", "--", "vde_plug", "vde:///run/x")
    assert words == ["vde_plug", "ringplug://slirp", "vde:///run/x"], words
    words, _ = would_run("slirp", "--", "linux", "vec0:transport=vde,vnl={}", "mem=1G")
    assert words == ["linux", "vec0:transport=vde,vnl=ringplug://slirp", "mem=1G"], words
    words, _ = would_run("slirp?hostname=a,b", "--", "qemu-system-i386", "-netdev",
                         "vde,id=n,sock={}")
    assert words[1:] == ["-netdev", "vde,id=n,sock=ringplug://slirp?hostname=a,,b"], words


@test
def exec_refuses():
    refused(2, ["'simh'", "qemu-system-*", "bochs", "linux.uml", "vde_plug", "vdens", "{}"],
            "exec", "slirp", "--", "simh")
    refused(2, ["no locator"], "exec", "--print")
    refused(2, ["no program", "'vdens'"], "exec", "--", "vdens")
    refused(2, ["locator is empty"], "exec", "", "--", "vdens")
    refused(2, ["no program", "'slirp'"], "exec", "slirp")
    refused(2, ["no program", "'slirp'"], "exec", "slirp", "--")
    refused(2, ["--memory"], "exec", "slirp", "--memory=1", "vdens")
    refused(2, ["'slurp'", "slirp"], "exec", "slurp", "--", "vdens")
    refused(2, ["'hostfw'", "hostfwd"], "exec", "slirp?hostfw=x", "--", "vdens")
    refused(1, ["/nonexistent/vdens", "No such file"], "exec", "slirp", "--", "/nonexistent/vdens")


@test
def exec_sets_the_module_path():
    folder = os.path.dirname(os.path.realpath(MODULE))
    _, variables = would_run("slirp", "--", "vdens")
    path = variables["VDEPLUGIN_PATH"].split(":")
    assert os.path.samefile(path[0], folder), path
    # The variable is exclusive, so the system's own modules must be in it as well.
    assert len(path) == 2 and path[1].endswith("/vdeplug"), path
    _, variables = would_run("slirp", "--", "vdens", VDEPLUGIN_PATH="/a:/b")
    assert variables["VDEPLUGIN_PATH"].split(":")[1:] == ["/a", "/b"], variables
    _, variables = would_run("slirp", "--", "vdens", VDEPLUGIN_PATH="/a:" + folder)
    assert variables == {}, variables


@test
def exec_becomes_the_program():
    with tempfile.TemporaryDirectory() as folder:
        fake = pathlib.Path(folder, "qemu-system-fake")
        fake.write_text('#!/bin/sh\necho "$$ $VDEPLUGIN_PATH"\nprintf "%s\\n" "$@"\nexit 7\n')
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        p = subprocess.Popen([RINGPLUG, "exec", "null", "--", "qemu-system-fake", "a b"],
                             env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
                             stdout=subprocess.PIPE, text=True)
        out = p.communicate(timeout=30)[0].splitlines()
        assert p.returncode == 7, p.returncode
        pid, path = out[0].split(" ", 1)
        assert int(pid) == p.pid and path, out
        assert out[1:] == ["a b", "-netdev", "vde,id=ringplug0,sock=ringplug://null",
                           "-device", "virtio-net-pci,netdev=ringplug0"], out


@test
def nics_and_doctor_tell_of_this_host():
    nics = {n["name"]: n for n in json.loads(accepted("nics", "--json"))}
    assert nics["lo"]["type"] == "virtual" and nics["lo"]["evidence"], nics
    text = accepted("nics").splitlines()
    assert text[0].split()[:2] == ["NAME", "TYPE"] and len(text) == len(nics) + 1, text
    findings = json.loads(accepted("doctor", "--json"))
    for f in findings:
        assert f["found"] and f["fine"] == (f["remedy"] == ""), f
    assert {"/dev/net/tun", "user namespaces"} <= {f["what"] for f in findings}, findings
    text = accepted("doctor")
    assert all(f["found"] in text and f["remedy"] in text for f in findings), text
    for command in "nics", "doctor":
        refused(2, ["'x'"], command, "x")


main()
