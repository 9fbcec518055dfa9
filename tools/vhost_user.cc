// SPDX-License-Identifier: BSD-3-Clause
// vhost_user.cc - `ringplug vhost-user`: one door and one uplink, by the conventions for back-end
// programs in QEMU's docs/interop/vhost-user.rst.
#include <cstdio>
#include <string_view>

#include "tools/command.h"
#include "tools/service.h"

namespace rp::tools {
namespace {

constexpr const char* kDefaultUplink = "slirp";
constexpr const char* kCapabilities = "--print-capabilities";

struct Request {
  std::string uplink, door;
  bool sandbox = true;
};

std::string door_at(const std::string& path, int fd) {
  if (fd >= 0) return "vhost-user:?fd=" + std::to_string(fd);
  return "vhost-user:" + std::string(GText(g_uri_escape_string(path.c_str(), "/", FALSE)).get());
}

Request parse(int argc, char** argv) {
  char *path = nullptr, *uplink = nullptr;
  int fd = G_MININT;
  gboolean capabilities = FALSE, no_sandbox = FALSE;
  const GOptionEntry table[] = {
      {"socket-path", 0, 0, G_OPTION_ARG_FILENAME, &path, "Listen there", "PATH"},
      {"fd", 0, 0, G_OPTION_ARG_INT, &fd, "The socket is this descriptor", "N"},
      {"uplink", 'u', 0, G_OPTION_ARG_FILENAME, &uplink, "Where frames go out (default: slirp)",
       "LOCATOR"},
      {kCapabilities + 2, 0, 0, G_OPTION_ARG_NONE, &capabilities,
       "Print what the program is, as JSON, and do nothing else", nullptr},
      no_sandbox_option(no_sandbox),
      {},
  };
  parse_options(argc, argv, table, "[LOCATOR]",
                "A vhost-user back-end program as QEMU and libvirt start it: it serves one socket\n"
                "until SIGTERM and stays in the foreground. LOCATOR is the same as --uplink.\n\n"
                "Example:\n"
                "  ringplug vhost-user --socket-path=/tmp/vm0.sock slirp");
  const std::string socket_path = taken(path);
  Request r{taken(uplink), {}, no_sandbox == FALSE};
  if (argc > 2) throw Complaint(kUsage, std::string("one LOCATOR, got '") + argv[2] + "' too");
  if (argc == 2 && !r.uplink.empty())
    throw Complaint(kUsage, std::string("'") + argv[1] + "' and --uplink=" + r.uplink +
                                ": there is one uplink");
  if (argc == 2) r.uplink = argv[1];
  if (r.uplink.empty()) r.uplink = kDefaultUplink;
  if (socket_path.empty() == (fd == G_MININT))
    throw Complaint(kUsage, "either --socket-path=PATH or --fd=N must be given, and not both");
  if (fd != G_MININT && fd < 0)
    throw Complaint(kUsage, "--fd=" + std::to_string(fd) + " is no descriptor");
  r.door = door_at(socket_path, fd);
  return r;
}

/// The conventions: whatever else is said, this is answered.
bool asks_for_capabilities(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == kCapabilities) return true;
  return false;
}

}  // namespace

int vhost_user_main(int argc, char** argv) {
  if (asks_for_capabilities(argc, argv)) {
    std::puts("{\n  \"type\": \"net\"\n}");
    return kDone;
  }
  const Request r = parse(argc, argv);
  Service service(RP_SWITCH_OPTIONS_INIT, g_get_prgname());
  service.add_uplinks({r.uplink});
  service.open_doors({r.door});
  service.confine(r.sandbox);
  service.run();
  return kDone;
}

}  // namespace rp::tools
