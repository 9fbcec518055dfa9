// SPDX-License-Identifier: BSD-3-Clause
// command.h - what the parts of the `ringplug` command share: exit codes, complaints, options.
#pragma once

#include <glib.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace rp::tools {

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2 };

/// Ends the command; main() prints the sentence after the command's name.
class Complaint : public std::runtime_error {
 public:
  Complaint(Exit code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  Exit code() const noexcept { return code_; }

 private:
  Exit code_;
};

struct GFree {
  void operator()(void* p) const noexcept { g_free(p); }
};
/// A string that GLib allocated.
using GText = std::unique_ptr<char, GFree>;

/// Parses the options of one command and takes them out of argv; --help prints and exits. `usage`
/// follows the options in the help text, `about` stands below. `only_leading`: ends at the first
/// word that is no option, as what follows is another program's. Throws Complaint.
void parse_options(int& argc, char**& argv, const GOptionEntry* entries, const char* usage,
                   const char* about, bool only_leading = false);

/// The option's text, which is freed; empty when it was not given.
inline std::string taken(char* text) {
  const GText owner(text);
  return text ? text : "";
}

int doctor_main(int argc, char** argv);
int exec_main(int argc, char** argv);
int locators_main(int argc, char** argv);
int netns_main(int argc, char** argv);
int set_main(int argc, char** argv);
int nics_main(int argc, char** argv);
int show_main(int argc, char** argv);
int switch_main(int argc, char** argv);
int vhost_user_main(int argc, char** argv);

}  // namespace rp::tools
