#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# guest_dhcp.sh - is udhcpc's script in the test guest: applies a lease and prints it.
# shellcheck disable=SC2154 # udhcpc sets the variables

case "$1" in
deconfig)
  ip addr flush dev "$interface" scope global
  ip link set "$interface" up
  ;;
bound | renew)
  # As dhclient and NetworkManager do; a card that can't keeps what it has.
  [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu" 2>/dev/null
  ip addr add "$ip/${mask:-24}" dev "$interface"
  for address in $router; do
    ip route replace default via "$address" dev "$interface"
  done
  : >/etc/resolv.conf
  [ -n "$search$domain" ] && echo "search ${search:-$domain}" >>/etc/resolv.conf
  for address in $dns; do
    echo "nameserver $address" >>/etc/resolv.conf
  done
  echo "lease=$ip/$mask router=$router dns=$dns server=$serverid host=$hostname domain=$domain" \
    "search=$search mtu=$mtu tftp=$tftp boot=$boot_file"
  ;;
esac
exit 0
