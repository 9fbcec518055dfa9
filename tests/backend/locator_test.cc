// SPDX-License-Identifier: BSD-3-Clause
// locator_test.cc - the grammar of locators, and the table of modes behind it.
#include "backend/locator.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "backend/modes.h"
#include "base/error.h"

namespace rp::backend {
namespace {

using Params = std::vector<std::pair<std::string, std::string>>;

/// The sentence that `fn` throws; empty when it throws none.
template <typename Fn>
std::string sentence_of(Fn&& fn, Errc* code = nullptr) {
  try {
    fn();
  } catch (const Error& e) {
    if (code) *code = e.code();
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(LocatorTest, Grammar) {
  const struct {
    std::string text, scheme;
    bool has_target;
    std::string target;
    Params params;
  } rows[] = {
      {"slirp", "slirp", false, "", {}},
      {"slirp?", "slirp", false, "", {}},
      {"slirp:", "slirp", true, "", {}},
      {"slirp:?", "slirp", true, "", {}},
      {"tap:tap0", "tap", true, "tap0", {}},
      {"tap?fd=7", "tap", false, "", {{"fd", "7"}}},
      {"tap:tap0?bridge=br0", "tap", true, "tap0", {{"bridge", "br0"}}},
      {"slirp?net=10.0.2.0/24&hostfwd=tcp:127.0.0.1:2222-:22",
       "slirp",
       false,
       "",
       {{"net", "10.0.2.0/24"}, {"hostfwd", "tcp:127.0.0.1:2222-:22"}}},
      {"vde:/run/vde.ctl", "vde", true, "/run/vde.ctl", {}},
      {"vde:vxvde://239.0.0.1", "vde", true, "vxvde://239.0.0.1", {}},
      {"vde:a:b:c", "vde", true, "a:b:c", {}},
      {"vhost-user:/x y", "vhost-user", true, "/x y", {}},
      {"l2tp3:x", "l2tp3", true, "x", {}},
      // Percent-decoding, once.
      {"tap:a%3fb%3Ac", "tap", true, "a?b:c", {}},
      {"tap:%2525", "tap", true, "%25", {}},
      {"x?a%26b=c%3dd%26", "x", false, "", {{"a&b", "c=d&"}}},
      {"x?a=1+1", "x", false, "", {{"a", "1+1"}}},
      {"x?a=%20%2B", "x", false, "", {{"a", " +"}}},
      // Only the first '?', ':' and '=' separate.
      {"x?a=b?c", "x", false, "", {{"a", "b?c"}}},
      {"x?a=b=c", "x", false, "", {{"a", "b=c"}}},
      {"x?a=:b", "x", false, "", {{"a", ":b"}}},
      // Empty values are values; repeated keys stay, in order.
      {"x?a=", "x", false, "", {{"a", ""}}},
      {"x?a=1&b=2&a=3&a=1", "x", false, "", {{"a", "1"}, {"b", "2"}, {"a", "3"}, {"a", "1"}}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    Locator l;
    ASSERT_NO_THROW(l = parse_locator(row.text));
    EXPECT_EQ(l.scheme, row.scheme);
    EXPECT_EQ(l.has_target, row.has_target);
    EXPECT_EQ(l.target, row.target);
    EXPECT_EQ(l.params, row.params);
    EXPECT_EQ(l.text, row.text);
    const Locator again = parse_locator(text_of(l));
    EXPECT_EQ(again.has_target, l.has_target);
    EXPECT_EQ(again.target, l.target);
    EXPECT_EQ(again.params, l.params);
  }
  Locator usual =
      parse_locator("slirp?hostfwd=tcp:127.0.0.1:2222-:22&is%6flate=on&net=10.0.2.0/24");
  usual.params.erase(usual.params.begin() + 1);
  EXPECT_EQ(text_of(usual), "slirp?hostfwd=tcp:127.0.0.1:2222-:22&net=10.0.2.0/24");
}

TEST(LocatorTest, WhatIsMalformedIsNamed) {
  const struct {
    std::string text, named;
  } rows[] = {
      {"", "scheme"},
      {":tap0", "scheme"},
      {"?a=b", "scheme"},
      {"Slirp", "'Slirp'"},
      {"sl irp", "'sl irp'"},
      {"slirp%20", "'slirp%20'"},
      {"/dev/net/tun", "'/dev/net/tun'"},
      {"tap:%", "'%'"},
      {"tap:%2", "'%2'"},
      {"tap:%zz", "'%zz'"},
      {"tap:a%00b", "'a%00b'"},
      {"x?a", "KEY=VALUE"},
      {"x?a=1&b", "KEY=VALUE"},
      {"x?=1", "no name"},
      {"x?a=1&=2", "no name"},
      {"x?a=%", "hex"},
      {"x?a=%g0", "hex"},
      {"x?%=1", "hex"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    Errc code = Errc::internal;
    const std::string said = sentence_of([&] { parse_locator(row.text); }, &code);
    EXPECT_EQ(code, Errc::invalid);
    EXPECT_TRUE(has(said, row.named)) << said;
    EXPECT_TRUE(has(said, "locator '" + row.text + "'")) << said;
  }
}

TEST(LocatorTest, LongAndOddTextsAreOnlyTexts) {
  EXPECT_EQ(parse_locator("tap:" + std::string(100'000, 'a')).target.size(), 100'000u);
  std::string many = "x?";
  for (int i = 0; i < 10'000; ++i) many += (i ? "&a=" : "a=") + std::to_string(i);
  EXPECT_EQ(parse_locator(many).params.size(), 10'000u);
  // Each byte in each place: an answer or an Error, nothing else.
  for (int byte = 1; byte < 256; ++byte) {
    for (const char* shape : {"#", "a#", "a:#", "a?#=b", "a?b=#", "a?b=c&#", "a:%#", "a?b=%#0"}) {
      std::string text = shape;
      text[text.find('#')] = static_cast<char>(byte);
      try {
        parse_locator(text);
      } catch (const Error& e) {
        EXPECT_FALSE(std::string(e.what()).empty());
      }
    }
  }
}

TEST(ModesTest, EveryModeIsDocumentedAndItsExampleParses) {
  ASSERT_FALSE(modes().empty());
  for (const Mode& m : modes()) {
    EXPECT_FALSE(m.summary.empty()) << m.scheme;
    EXPECT_EQ(parse_locator(std::string(m.example)).scheme, m.scheme);
    EXPECT_EQ(parse_locator(std::string(m.example)).has_target, !m.target.empty());
    m.each_option([&](const OptionDoc& o) {
      EXPECT_FALSE(o.name.empty() || o.summary.empty()) << m.scheme << " " << o.name;
    });
  }
}

std::string refusal(const std::string& text, Errc& code) {
  return sentence_of([&] { open_port(parse_locator(text), {Log(), {}}); }, &code);
}

TEST(ModesTest, AnUnknownSchemeListsThoseThereAre) {
  Errc code{};
  const std::string said = refusal("nosuch:x", code);
  EXPECT_EQ(code, Errc::unknown);
  EXPECT_TRUE(has(said, "'nosuch'")) << said;
  for (const Mode& m : modes()) EXPECT_TRUE(has(said, std::string(m.scheme))) << said;
}

TEST(ModesTest, NothingIsIgnored) {
  Errc code{};
  std::string said = refusal("null:x", code);
  EXPECT_EQ(code, Errc::invalid);
  EXPECT_TRUE(has(said, "':x'")) << said;
  said = refusal("slirp:", code);
  EXPECT_EQ(code, Errc::invalid) << said;
  said = refusal("null?a=b", code);
  EXPECT_EQ(code, Errc::unknown);
  EXPECT_TRUE(has(said, "'a'")) << said;
  said = refusal("slirp?nosuchkey=1", code);
  EXPECT_EQ(code, Errc::unknown);
  EXPECT_TRUE(has(said, "'nosuchkey'") && has(said, "hostfwd")) << said;
  said = refusal("slirp?net=banana", code);
  EXPECT_TRUE(has(said, "net=banana")) << said;
}

TEST(ModesTest, AnMtuIsSuggestedOnlyToWhatTellsGuests) {
  const auto suggested = [](const std::string& text, unsigned mtu) {
    Locator l = parse_locator(text);
    suggest_mtu(l, mtu);
    return text_of(l);
  };
  EXPECT_EQ(suggested("slirp?ipv6=off", 9000), "slirp?ipv6=off&mtu=9000");
  EXPECT_EQ(suggested("slirp?mtu=1400", 9000), "slirp?mtu=1400");
  EXPECT_EQ(suggested("slirp", 0), "slirp");
  EXPECT_EQ(suggested("tap:tap0", 9000), "tap:tap0") << "a device's own";
}

TEST(ModesTest, OpensWhatItNames) {
  const auto null = open_port(parse_locator("null"), {Log(), {}});
  ASSERT_TRUE(null);
  EXPECT_EQ(null->poll_fd(), -1);
  EXPECT_TRUE(null->arm({}));
  EXPECT_TRUE(null->link_up());
  const auto slirp = open_port(parse_locator("slirp?net=10.9.8.0/24"), {Log(), {}});
  ASSERT_TRUE(slirp);
  EXPECT_GE(slirp->poll_fd(), 0);
}

}  // namespace
}  // namespace rp::backend
