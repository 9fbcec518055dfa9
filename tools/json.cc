// SPDX-License-Identifier: BSD-3-Clause
// json.cc - building and taking apart.
#include "tools/json.h"

#include "tools/command.h"

namespace rp::tools {

void add_member(JsonBuilder* b, const char* name, const std::string& value) {
  const GText valid(g_utf8_make_valid(value.data(), static_cast<gssize>(value.size())));
  json_builder_set_member_name(b, name);
  json_builder_add_string_value(b, valid.get());
}

void add_member(JsonBuilder* b, const char* name, std::int64_t value) {
  json_builder_set_member_name(b, name);
  json_builder_add_int_value(b, value);
}

void add_member(JsonBuilder* b, const char* name, bool value) {
  json_builder_set_member_name(b, name);
  json_builder_add_boolean_value(b, value);
}

void begin_array(JsonBuilder* b, const char* name) {
  json_builder_set_member_name(b, name);
  json_builder_begin_array(b);
}

void begin_object(JsonBuilder* b, const char* name) {
  json_builder_set_member_name(b, name);
  json_builder_begin_object(b);
}

std::string to_text(JsonBuilder* b, bool pretty) {
  const JsonNodeRef root(json_builder_get_root(b));
  return to_text(root.get(), pretty);
}

std::string to_text(JsonNode* node, bool pretty) {
  return GText(json_to_string(node, pretty)).get();
}

JsonNodeRef parse_object(const std::string& text, std::string& why) {
  const auto size = static_cast<gssize>(text.size());
  if (!g_utf8_validate(text.data(), size, nullptr)) {
    why = "it is no UTF-8";
    return nullptr;
  }
  g_autoptr(JsonParser) parser = json_parser_new_immutable();
  GError* error = nullptr;
  if (!json_parser_load_from_data(parser, text.data(), size, &error)) {
    why = error->message;
    g_error_free(error);
    return nullptr;
  }
  JsonNode* root = json_parser_get_root(parser);
  if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
    why = "it is no JSON object";
    return nullptr;
  }
  return JsonNodeRef(json_node_ref(root));
}

std::string text_of(JsonObject* o, const char* name) {
  JsonNode* n = json_object_get_member(o, name);
  const char* text = n && JSON_NODE_HOLDS_VALUE(n) ? json_node_get_string(n) : nullptr;
  return text ? text : "";
}

std::int64_t number_of(JsonObject* o, const char* name) {
  JsonNode* n = json_object_get_member(o, name);
  return n && JSON_NODE_HOLDS_VALUE(n) ? json_node_get_int(n) : 0;
}

bool truth_of(JsonObject* o, const char* name) {
  JsonNode* n = json_object_get_member(o, name);
  return n && JSON_NODE_HOLDS_VALUE(n) && json_node_get_boolean(n);
}

JsonObject* object_of(JsonObject* o, const char* name) {
  JsonNode* n = json_object_get_member(o, name);
  return n && JSON_NODE_HOLDS_OBJECT(n) ? json_node_get_object(n) : nullptr;
}

std::vector<JsonObject*> objects_of(JsonObject* o, const char* name) {
  std::vector<JsonObject*> found;
  JsonNode* n = json_object_get_member(o, name);
  if (!n || !JSON_NODE_HOLDS_ARRAY(n)) return found;
  JsonArray* array = json_node_get_array(n);
  for (guint i = 0; i < json_array_get_length(array); ++i) {
    JsonNode* element = json_array_get_element(array, i);
    if (JSON_NODE_HOLDS_OBJECT(element)) found.push_back(json_node_get_object(element));
  }
  return found;
}

}  // namespace rp::tools
