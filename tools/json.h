// SPDX-License-Identifier: BSD-3-Clause
// json.h - json-glib with owners, and without its asserts on what somebody else wrote.
#pragma once

#include <json-glib/json-glib.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace rp::tools {

struct JsonNodeUnref {
  void operator()(JsonNode* n) const noexcept { json_node_unref(n); }
};
using JsonNodeRef = std::unique_ptr<JsonNode, JsonNodeUnref>;

/// Adds a member to the builder's object. Text that is no UTF-8 is mended, as JSON has no other.
void add_member(JsonBuilder* b, const char* name, const std::string& value);
void add_member(JsonBuilder* b, const char* name, std::int64_t value);
void add_member(JsonBuilder* b, const char* name, bool value);
/// Begins a member that is an array or an object; json_builder_end_*() ends it.
void begin_array(JsonBuilder* b, const char* name);
void begin_object(JsonBuilder* b, const char* name);

/// What the builder built.
std::string to_text(JsonBuilder* b, bool pretty);
std::string to_text(JsonNode* node, bool pretty);

/// The object that the text is; null when it is something else, which `why` then tells.
JsonNodeRef parse_object(const std::string& text, std::string& why);

/// Members; empty or 0 when the object has none of that name and type.
std::string text_of(JsonObject* o, const char* name);
std::int64_t number_of(JsonObject* o, const char* name);
bool truth_of(JsonObject* o, const char* name);
/// Borrowed; null when there is none.
JsonObject* object_of(JsonObject* o, const char* name);
/// The objects in the array of that name, borrowed.
std::vector<JsonObject*> objects_of(JsonObject* o, const char* name);

}  // namespace rp::tools
