// SPDX-License-Identifier: BSD-3-Clause
// header_cxx20.cc - ringplug.h is whole by itself, and can follow <syslog.h>, in C++20.
#ifdef AFTER_SYSLOG
#include <syslog.h>
#endif
#include "ringplug.h"

int main() {
  rp_error err = RP_ERROR_INIT;
  rp_switch_options of_switch = RP_SWITCH_OPTIONS_INIT;
  rp_plug_options of_plug RP_PLUG_OPTIONS_INIT;
  return err.size == sizeof err && of_switch.size == sizeof of_switch &&
                 of_plug.size == sizeof of_plug && of_plug.poll_us == -1
             ? 0
             : 1;
}
