// SPDX-License-Identifier: BSD-3-Clause
// module_path.cc - where our modules lie, and where libvdeplug and Bochs look.
//
// libvdeplug 4 looks into VDEPLUGIN_PATH, and nowhere else, when that is set; otherwise into the
// folder vdeplug/ beside itself. So a path that we set holds that folder as well, or the program
// would lose vde:// and all the other networks. Bochs does the same with LTDL_LIBRARY_PATH and the
// folder it was built for, and would lose its cards and all.
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

constexpr const char* kVdeplugModule = "libvdeplug_ringplug.so";
constexpr const char* kBochsModule = "libbx_eth_ringplug.so";
/// One that Bochs always has.
constexpr const char* kBochsOwn = "libbx_eth_null.so";

/// The folder of the library that defines the symbol; empty: none.
std::string folder_of(void* library, const char* symbol) {
  Dl_info info;
  void* address = dlsym(library, symbol);
  if (!address || dladdr(address, &info) == 0) return {};
  char real[PATH_MAX];
  if (!realpath(info.dli_fname, real)) return {};
  return GText(g_path_get_dirname(real)).get();
}

bool has(const std::string& folder, const char* file) {
  struct stat st;
  return stat((folder + "/" + file).c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

bool same_folder(const std::string& a, const std::string& b) {
  struct stat x, y;
  return stat(a.c_str(), &x) == 0 && stat(b.c_str(), &y) == 0 && x.st_dev == y.st_dev &&
         x.st_ino == y.st_ino;
}

/// Where the module is that belongs to the library we run with: beside it in a build tree, in a
/// folder below or in the one that was configured when installed.
std::string own_folder(const char* module, const char* below, const char* configured) {
  const std::string library = folder_of(RTLD_DEFAULT, "rp_version");
  const std::string places[] = {library, library + "/" + below, configured};
  for (const auto& folder : places)
    if (has(folder, module)) return folder;
  throw Complaint(kFailed, std::string(module) + " is neither in " + library + ", nor in " +
                               places[1] + ", nor in " + configured);
}

/// Where libvdeplug itself looks; empty when there is no libvdeplug.
std::string libvdeplug_folder() {
  void* library = dlopen("libvdeplug.so.2", RTLD_LAZY | RTLD_LOCAL);
  if (!library) return {};
  const std::string folder = folder_of(library, "vde_open_real");
  dlclose(library);
  return folder.empty() ? folder : folder + "/vdeplug";
}

/// Where the modules are that came with Bochs; empty when there are none.
std::string bochs_folder() {
  const std::string libc = folder_of(RTLD_DEFAULT, "fopen");
  for (const std::string& folder :
       {std::string(RP_BOCHSDIR), libc + "/bochs/plugins", std::string("/usr/lib/bochs/plugins"),
        std::string("/usr/local/lib/bochs/plugins")})
    if (has(folder, kBochsOwn)) return folder;
  return {};
}

bool lists(const std::string& path, const std::string& folder) {
  std::istringstream folders(path);
  for (std::string f; std::getline(folders, f, ':');)
    if (same_folder(f, folder)) return true;
  return false;
}

/// The path that holds our folder and what the program has or, when nothing is set, its own folder.
std::optional<Variable> path(const char* name, const std::string& own, const std::string& system) {
  if (const char* given = std::getenv(name)) {
    if (lists(given, own)) return std::nullopt;
    return Variable{name, own + ":" + given};
  }
  if (!system.empty() && same_folder(own, system)) return std::nullopt;
  return Variable{name, system.empty() ? own : own + ":" + system};
}

}  // namespace

std::optional<Variable> libvdeplug_variable() {
  return path("VDEPLUGIN_PATH", own_folder(kVdeplugModule, "vdeplug", RP_VDEPLUGDIR),
              libvdeplug_folder());
}

std::optional<Variable> bochs_variable() {
  return path("LTDL_LIBRARY_PATH", own_folder(kBochsModule, "bochs/plugins", RP_BOCHSDIR),
              bochs_folder());
}

}  // namespace rp::tools
