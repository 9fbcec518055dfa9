// SPDX-License-Identifier: BSD-3-Clause
// locator.cc - splits and decodes a locator, with GLib's URI functions.
#include "backend/locator.h"

#include <glib.h>

#include <memory>

#include "base/error.h"

namespace rp::backend {
namespace {

[[noreturn]] void bad(const std::string& text, const std::string& why) {
  throw Error(Errc::invalid, "locator '" + text + "': " + why);
}

/// With what a target or a value usually has left as it is.
std::string encoded(const std::string& part) {
  const std::unique_ptr<char, decltype(&g_free)> text(
      g_uri_escape_string(part.c_str(), "!$'()*+,/:;@[]", false), g_free);
  return text.get();
}

std::string decode(const std::string& text, const std::string& part) {
  const std::unique_ptr<char, decltype(&g_free)> decoded(
      g_uri_unescape_string(part.c_str(), nullptr), g_free);
  if (!decoded) bad(text, "'" + part + "' has a '%' that two hex digits (not 00) don't follow");
  return decoded.get();
}

void parse_params(Locator& l, const std::string& query) {
  GUriParamsIter iter;
  g_uri_params_iter_init(&iter, query.c_str(), static_cast<gssize>(query.size()), "&",
                         G_URI_PARAMS_NONE);
  char *key = nullptr, *value = nullptr;
  GError* error = nullptr;
  while (g_uri_params_iter_next(&iter, &key, &value, &error)) {
    l.params.emplace_back(key, value);
    g_free(key);
    g_free(value);
    if (l.params.back().first.empty()) bad(l.text, "an option has no name");
  }
  if (error) {
    g_error_free(error);
    bad(l.text, "after '?' come KEY=VALUE pairs joined by '&'; '%' needs two hex digits");
  }
}

}  // namespace

Locator parse_locator(const std::string& text) {
  Locator l;
  l.text = text;
  const auto question = text.find('?');
  const std::string head = text.substr(0, question);
  const auto colon = head.find(':');
  l.scheme = head.substr(0, colon);
  if (l.scheme.empty()) bad(text, "it starts with a scheme, as in slirp or tap:tap0");
  if (l.scheme.find('/') != std::string::npos)
    bad(text, "a path follows a scheme, as in vde:/tmp/lan0 or vhost-user:/tmp/vm0.sock");
  if (l.scheme.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
    bad(text, "'" + l.scheme + "' is no scheme: lower-case letters, digits and '-' only");
  if (colon != head.npos) {
    l.has_target = true;
    l.target = decode(text, head.substr(colon + 1));
  }
  if (question != text.npos && question + 1 < text.size())
    parse_params(l, text.substr(question + 1));
  return l;
}

std::string text_of(const Locator& l) {
  std::string text = l.scheme;
  if (l.has_target) text += ':' + encoded(l.target);
  char before = '?';
  for (const auto& [key, value] : l.params) {
    text += before + encoded(key) + '=' + encoded(value);
    before = '&';
  }
  return text;
}

}  // namespace rp::backend
