// SPDX-License-Identifier: BSD-3-Clause
// vdeplug.cc - the module that libvdeplug loads for ringplug://LOCATOR, in QEMU and elsewhere.
//
// Only the public C ABI is used. libvdeplug's callers disagree about what "no frame" looks like
// (vde_plug ends on a negative value, vdens on 0, QEMU injects a 1-byte frame on 1), so the data
// descriptor is the plug's own, readable exactly while a whole frame waits, and the question does
// not arise; should a caller ask without polling it gets libvdeplug's own convention, 1. send()
// never returns 0: QEMU would park its queue for ever.
#include <glib.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "api/ringplug.h"

extern "C" {
#include <libvdeplug.h>

// libvdeplug_mod.h is not C++; these are its two structs.
struct ringplug_conn {
  void* handle;  ///< libvdeplug's
  void* module;  ///< libvdeplug's
  rp_plug* plug;
};

struct vdeplug_module {
  int flags;
  ringplug_conn* (*open_real)(char* url, char* descr, int version, vde_open_args* args);
  ssize_t (*recv)(ringplug_conn*, void* buf, size_t len, int flags);
  ssize_t (*send)(ringplug_conn*, const void* buf, size_t len, int flags);
  int (*datafd)(ringplug_conn*);
  int (*ctlfd)(ringplug_conn*);
  int (*close)(ringplug_conn*);
};
}

namespace {

constexpr ssize_t kNoFrame = 1;
/// What QEMU's network cards carry, and most guests' drivers for them. Other programs that load us
/// pass frames on to networks that we know nothing of.
constexpr unsigned kQemuMtu = 9000;
constexpr std::string_view kQemu = "QEMU";
/// QEMU passes this when no mode= was given.
constexpr unsigned kDefaultMode = 0700;

int errno_of(int code) {
  switch (code) {
    case RP_EBUSY:
      return EADDRINUSE;
    case RP_EDENIED:
      return EACCES;
    case RP_ENOTFOUND:
      return ENOENT;
    case RP_EUNSUPPORTED:
      return ENOTSUP;
    case RP_ERESOURCES:
      return ENOMEM;
    default:
      return EINVAL;
  }
}

/// The caller's own message says only that it failed; the sentence goes to the log.
ringplug_conn* refuse(int code, const char* sentence) {
  g_log_structured("ringplug", G_LOG_LEVEL_MESSAGE, "MESSAGE", "%s", sentence);
  errno = errno_of(code);
  return nullptr;
}

ringplug_conn* open_real(char* url, char* descr, int version, vde_open_args* args) {
  // A comma ends the locator on QEMU's command line; what follows may come in as one of these.
  const bool stray = version == 1 && args &&
                     (args->port != 0 || (args->group && *args->group) ||
                      (args->mode != 0 && args->mode != kDefaultMode));
  if (stray)
    return refuse(RP_EINVALID,
                  "port=, group= and mode= mean nothing to a locator; a comma inside a locator is "
                  "written as two (,,) on QEMU's command line");
  rp_plug_options options = RP_PLUG_OPTIONS_INIT;
  options.name = "vdeplug";
  if (descr && std::string_view(descr).starts_with(kQemu)) options.mtu = kQemuMtu;
  rp_error err = RP_ERROR_INIT;
  rp_plug* plug = nullptr;
  if (rp_plug_open(url, &options, &plug, &err) != 0) return refuse(err.code, err.message);
  auto* conn = static_cast<ringplug_conn*>(std::calloc(1, sizeof(ringplug_conn)));
  if (!conn) {
    rp_plug_close(plug);
    return refuse(RP_ERESOURCES, "out of memory");
  }
  conn->plug = plug;
  return conn;
}

ssize_t recv(ringplug_conn* conn, void* buf, size_t len, int) {
  const ssize_t n = rp_plug_recv(conn->plug, buf, len);
  if (n <= 0) return kNoFrame;
  return n < static_cast<ssize_t>(len) ? n : static_cast<ssize_t>(len);
}

ssize_t send(ringplug_conn* conn, const void* buf, size_t len, int) {
  const ssize_t n = rp_plug_send(conn->plug, buf, len);
  if (n > 0) return n;
  errno = n == RP_ERESOURCES ? EAGAIN : EINVAL;
  return -1;
}

int datafd(ringplug_conn* conn) {
  return rp_plug_fd(conn->plug);
}
int ctlfd(ringplug_conn*) {
  return -1;
}

int close(ringplug_conn* conn) {
  rp_plug_close(conn->plug);
  std::free(conn);
  return 0;
}

}  // namespace

extern "C" {
extern __attribute__((visibility("default"))) vdeplug_module vdeplug_ops;
vdeplug_module vdeplug_ops = {0, open_real, recv, send, datafd, ctlfd, close};
}
