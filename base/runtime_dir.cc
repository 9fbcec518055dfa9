// SPDX-License-Identifier: BSD-3-Clause
// runtime_dir.cc - picks the directory, makes it and checks whose it is.
#include "base/runtime_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "base/fd.h"
#include "base/unix_socket.h"

namespace rp {
namespace {

constexpr std::size_t kLongestName = 64;

/// Makes the directory unless it is there, and returns it once nobody else can enter it.
std::string private_dir(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("making " + path, errno);
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) {
    if (errno == ENOTDIR || errno == ELOOP)
      throw Error(Errc::denied, path + " is not a directory; it would hold sockets");
    throw_errno("opening " + path, errno);
  }
  if (st.st_uid != geteuid())
    throw Error(Errc::denied, path + " belongs to user " + std::to_string(st.st_uid) +
                                  "; set XDG_RUNTIME_DIR to a directory of your own");
  if ((st.st_mode & 077) != 0)
    throw Error(Errc::denied, path + " is open to others; `chmod 700 " + path + "` closes it");
  return path;
}

enum class Whose { nobodys, ours, others };

Whose whose(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return Whose::nobodys;
  return st.st_uid == geteuid() ? Whose::ours : Whose::others;
}

std::string base_dir() {
  // One that is relative or another user's is void, as the XDG specification says; one that is
  // missing is a mistake that the user should hear of.
  const char* given = secure_getenv("XDG_RUNTIME_DIR");
  if (given && given[0] == '/' && whose(given) != Whose::others) return given;
  const std::string uid = std::to_string(geteuid());
  if (const std::string run = "/run/user/" + uid; whose(run) == Whose::ours) return run;
  return private_dir("/tmp/ringplug-" + uid);
}

bool plain(const std::string& text) {
  return !text.empty() && text.size() <= kLongestName &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
             "._-") == text.npos;
}

}  // namespace

std::string runtime_dir() {
  return private_dir(base_dir() + "/ringplug");
}

std::string runtime_path(const std::string& name, const std::string& suffix) {
  if (!plain(name) || name[0] == '.')
    throw Error(Errc::invalid, "'" + name +
                                   "' is no name for a switch; a name is 1 to 64 letters, "
                                   "digits, '.', '_' and '-', and starts with no '.'");
  if (!plain(suffix) || suffix[0] != '.')
    throw Error(Errc::invalid, "'" + suffix + "' is no suffix, as '.control' is one");
  return unix_address(runtime_dir() + "/" + name + suffix, "switch " + name).sun_path;
}

}  // namespace rp
