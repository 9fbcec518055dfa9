// SPDX-License-Identifier: BSD-3-Clause
// module_path.cc - where our module lies and where libvdeplug looks.
//
// libvdeplug 4 looks into VDEPLUGIN_PATH, and nowhere else, when that is set; otherwise into the
// folder vdeplug/ beside itself. So a path that we set holds that folder as well, or the program
// would lose vde:// and all the other networks.
#include "tools/module_path.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdlib>
#include <sstream>

#include "tools/command.h"

namespace rp::tools {
namespace {

constexpr const char* kModule = "libvdeplug_ringplug.so";

/// The folder of the library that defines the symbol; empty: none.
std::string folder_of(void* library, const char* symbol) {
  Dl_info info;
  void* address = dlsym(library, symbol);
  if (!address || dladdr(address, &info) == 0) return {};
  char real[PATH_MAX];
  if (!realpath(info.dli_fname, real)) return {};
  return GText(g_path_get_dirname(real)).get();
}

bool has_module(const std::string& folder) {
  struct stat st;
  return stat((folder + "/" + kModule).c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

bool same_folder(const std::string& a, const std::string& b) {
  struct stat x, y;
  return stat(a.c_str(), &x) == 0 && stat(b.c_str(), &y) == 0 && x.st_dev == y.st_dev &&
         x.st_ino == y.st_ino;
}

/// The module that belongs to the library we run with: beside it in a build tree, in vdeplug/ or in
/// the folder that was configured when installed.
std::string own_folder() {
  const std::string library = folder_of(RTLD_DEFAULT, "rp_version");
  const std::string places[] = {library, library + "/vdeplug", RP_VDEPLUGDIR};
  for (const auto& folder : places)
    if (has_module(folder)) return folder;
  throw Complaint(kFailed, std::string(kModule) + " is neither in " + library + ", nor in " +
                               places[1] + ", nor in " + RP_VDEPLUGDIR);
}

/// Where libvdeplug itself looks; empty when there is no libvdeplug.
std::string libvdeplug_folder() {
  void* library = dlopen("libvdeplug.so.2", RTLD_LAZY | RTLD_LOCAL);
  if (!library) return {};
  const std::string folder = folder_of(library, "vde_open_real");
  dlclose(library);
  return folder.empty() ? folder : folder + "/vdeplug";
}

bool lists(const std::string& path, const std::string& folder) {
  std::istringstream folders(path);
  for (std::string f; std::getline(folders, f, ':');)
    if (same_folder(f, folder)) return true;
  return false;
}

}  // namespace

std::optional<std::string> wanted_vdeplugin_path() {
  const std::string own = own_folder();
  const std::string system = libvdeplug_folder();
  if (const char* given = std::getenv("VDEPLUGIN_PATH")) {
    if (lists(given, own)) return std::nullopt;
    return own + ":" + given;
  }
  if (!system.empty() && same_folder(own, system)) return std::nullopt;
  return system.empty() ? own : own + ":" + system;
}

}  // namespace rp::tools
