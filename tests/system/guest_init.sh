#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# guest_init.sh - is /init of the test guest: loads drivers, then runs what the host sends on ttyS1.
#
# The host sends a line "ID SECONDS BASE64" per script; the answer is "@@begin ID", the script's
# output and "@@end ID STATUS". A script that takes longer is killed, so that the next one can run.

export PATH=/bin HOME=/ TERM=dumb
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

while read -r module; do
  insmod "/modules/$module.ko" || echo "insmod $module failed"
done </modules/list

# Duplicate address detection would cost each IPv6 case a second.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
ip link set lo up

exec 3<>/dev/ttyS1
stty raw -echo <&3
# A process of its own: the shell's read forgets half a line when a child ends meanwhile, and
# process 1 gets every orphan as a child.
(
  echo '@@hello' >&3
  while read -r id seconds script <&3; do
    echo "$script" | base64 -d >/tmp/script
    echo "@@begin $id" >&3
    timeout "$seconds" sh /tmp/script </dev/null >&3 2>&1
    printf '\n@@end %s %s\n' "$id" $? >&3
  done
)
poweroff -f # the line broke off
