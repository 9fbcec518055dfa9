#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# symbols_test.sh - what the library and the modules export is what is checked in, and no more.
#
# Usage: symbols_test.sh LIBRINGPLUG VDEPLUG_MODULE BOCHS_MODULE SYMBOLS
set -u
exported() { nm -D --defined-only "$1" | cut -d' ' -f2- | LC_ALL=C sort; }

status=0
if ! exported "$1" | diff -u "$4" -; then
  echo "$1 exports something else than $4 lists (+)" >&2
  status=1
fi
exports_only() {
  if [ "$(exported "$1")" != "$2" ]; then
    echo "$1 exports more or less than $2:" >&2
    exported "$1" >&2
    status=1
  fi
}
exports_only "$2" "D vdeplug_ops"
exports_only "$3" "T libeth_ringplug_plugin_entry"
# The name that programs are linked with.
if ! readelf -d "$1" | grep -q 'SONAME.*\[libringplug\.so\.1\]'; then
  echo "$1 is not libringplug.so.1 by its soname" >&2
  status=1
fi
exit $status
