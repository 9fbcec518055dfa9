#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# symbols_test.sh - what the library and the module export is what is checked in, and no more.
#
# Usage: symbols_test.sh LIBRINGPLUG VDEPLUG_MODULE SYMBOLS
set -u
exported() { nm -D --defined-only "$1" | cut -d' ' -f2- | LC_ALL=C sort; }

status=0
if ! exported "$1" | diff -u "$3" -; then
  echo "$1 exports something else than $3 lists (+)" >&2
  status=1
fi
if [ "$(exported "$2")" != "D vdeplug_ops" ]; then
  echo "$2 exports more or less than vdeplug_ops:" >&2
  exported "$2" >&2
  status=1
fi
# The name that programs are linked with.
if ! readelf -d "$1" | grep -q 'SONAME.*\[libringplug\.so\.1\]'; then
  echo "$1 is not libringplug.so.1 by its soname" >&2
  status=1
fi
exit $status
