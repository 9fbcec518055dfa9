// SPDX-License-Identifier: BSD-3-Clause
#include "tools/vde_switch_options.h"

namespace rp::tools {
namespace {

std::string escaped(const char* text) {
  return GText(g_uri_escape_string(text, "/", FALSE)).get();
}

/// A locator for each of the texts.
std::vector<std::string> locators(const char* scheme, char** texts, const std::string& options) {
  std::vector<std::string> all;
  for (; texts && *texts; ++texts) all.push_back(scheme + escaped(*texts) + options);
  return all;
}

}  // namespace

VdeSwitchOptions::~VdeSwitchOptions() {
  for (char** texts : {socks_, taps_}) g_strfreev(texts);
  for (char* text : {mode_, dirmode_, group_, ports_}) g_free(text);
}

std::vector<GOptionEntry> VdeSwitchOptions::entries() {
  return {
      {"sock", 's', 0, G_OPTION_ARG_FILENAME_ARRAY, &socks_, "The same as --door=vde:PATH", "PATH"},
      {"mode", 'm', 0, G_OPTION_ARG_STRING, &mode_, "Of --sock: who may come in, octal", "MODE"},
      {"dirmode", 0, 0, G_OPTION_ARG_STRING, &dirmode_, "Of --sock: the folder's mode", "MODE"},
      {"group", 'g', 0, G_OPTION_ARG_STRING, &group_, "Of --sock: whose it is", "GROUP"},
      {"tap", 't', 0, G_OPTION_ARG_FILENAME_ARRAY, &taps_, "The same as --uplink=tap:TAP", "TAP"},
      {"hub", 'x', 0, G_OPTION_ARG_NONE, &hub_, "Every frame goes to all ports", nullptr},
      {"numports", 'n', 0, G_OPTION_ARG_STRING, &ports_, "The highest number of a port", "N"},
  };
}

std::vector<std::string> VdeSwitchOptions::doors() const {
  const std::pair<const char*, const char*> all[] = {
      {"mode", mode_}, {"dirmode", dirmode_}, {"group", group_}};
  std::string options;
  for (const auto& [key, value] : all) {
    if (!value) continue;
    if (!socks_)
      throw Complaint(kUsage, std::string("--") + key + "=" + value +
                                  " belongs to --sock=PATH, which is not there; a door has it as "
                                  "--door='vde:PATH?" +
                                  key + "=" + value + "'");
    options += (options.empty() ? "?" : "&") + (key + ("=" + escaped(value)));
  }
  return locators("vde:", socks_, options);
}

std::vector<std::string> VdeSwitchOptions::uplinks() const {
  return locators("tap:", taps_, "");
}

std::vector<std::pair<std::string, std::string>> VdeSwitchOptions::settings() const {
  std::vector<std::pair<std::string, std::string>> all;
  if (hub_) all.emplace_back("hub", "on");
  if (ports_) all.emplace_back("ports", ports_);
  return all;
}

}  // namespace rp::tools
