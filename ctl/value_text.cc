#include "ctl/value_text.h"

#include <cmath>

#include "ctl/json_parts.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

std::string_view viewOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> bytesOf(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

// ---- to JSON
// -----------------------------------------------------------------------------------------------

Json treeOf(const Value& value);

Json treeOf(double number) {
  if (std::isfinite(number)) return number;
  return {{"$float", std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf"}};
}

Json treeOf(const Value::Map& map) {
  Json object = Json::object();
  for (const auto& [key, value] : map) object[key] = treeOf(value);
  const bool looksSpecial = map.size() == 1 && map.front().key.starts_with('$');
  return looksSpecial ? Json{{"$map", std::move(object)}} : object;
}

Json treeOf(const Tensor& tensor) {
  Json object = {{"dtype", tensor.dtype}, {"shape", tensor.shape}};
  if (tensor.shm.empty()) {
    object["data"] = base64(viewOf(tensor.bytes));
  } else {
    object["shm"] = tensor.shm;
  }
  return {{"$tensor", std::move(object)}};
}

Json treeOf(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::null:
      return nullptr;
    case Value::Kind::boolean:
      return *value.getIf<bool>();
    case Value::Kind::int64:
      return *value.getIf<std::int64_t>();
    case Value::Kind::uint64:
      return *value.getIf<std::uint64_t>();
    case Value::Kind::float64:
      return treeOf(*value.getIf<double>());
    case Value::Kind::text:
      return *value.getIf<std::string>();
    case Value::Kind::data:
      return {{"$data", base64(viewOf(*value.getIf<Value::Data>()))}};
    case Value::Kind::list: {
      Json array = Json::array();
      for (const Value& element : *value.getIf<Value::List>()) array.push_back(treeOf(element));
      return array;
    }
    case Value::Kind::map:
      return treeOf(*value.getIf<Value::Map>());
    case Value::Kind::tensor:
      return treeOf(*value.getIf<Tensor>());
    case Value::Kind::opaque:
      break;
  }
  const auto& opaque = *value.getIf<Opaque>();
  return {{"$opaque", {{"codec", opaque.codec}, {"data", base64(viewOf(opaque.bytes))}}}};
}

// ---- from JSON
// ---------------------------------------------------------------------------------------------

[[noreturn]] void refuse(const std::string& what) {
  throw Error(Code::usage, "no value in JSON: " + what);
}

Value valueOf(const Json& tree, int depth);

// Before the value goes a list or map deeper.
void checkDepth(int depth) {
  if (depth == kMaxValueDepth) refuse("lists and maps more than 10 deep");
}

Value mapOf(const Json& object, int depth) {
  checkDepth(depth);
  Value::Map map;
  for (const auto& [key, value] : object.items()) map.push_back({key, valueOf(value, depth + 1)});
  return map;
}

const Json& part(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) refuse(std::string("\"") + key + "\" is missing");
  return object.at(key);
}

Value tensorOf(const Json& object) {
  Tensor tensor;
  tensor.dtype = part(object, "dtype").get<std::string>();
  tensor.shape = part(object, "shape").get<std::vector<std::uint64_t>>();
  if (object.contains("shm")) {
    tensor.shm = object.at("shm").get<std::string>();
  } else {
    tensor.bytes = bytesOf(fromBase64(part(object, "data").get<std::string>()));
  }
  return tensor;
}

Value floatOf(const std::string& text) {
  if (text == "nan") return std::nan("");
  if (text == "inf") return HUGE_VAL;
  if (text == "-inf") return -HUGE_VAL;
  refuse("\"$float\" is nan, inf or -inf");
}

Value specialOf(const std::string& key, const Json& content, int depth) {
  if (key == "$data") return bytesOf(fromBase64(content.get<std::string>()));
  if (key == "$float") return floatOf(content.get<std::string>());
  if (key == "$tensor") return tensorOf(content);
  if (key == "$opaque") {
    return Opaque{part(content, "codec").get<std::string>(),
                  bytesOf(fromBase64(part(content, "data").get<std::string>()))};
  }
  if (key == "$map" && content.is_object()) return mapOf(content, depth);
  refuse("an object of the one key \"" + key + "\"; {\"$map\": ...} around it makes it a map");
}

Value valueOf(const Json& tree, int depth) {
  switch (tree.type()) {
    case Json::value_t::null:
      return nullptr;
    case Json::value_t::boolean:
      return tree.get<bool>();
    case Json::value_t::number_integer:
      return tree.get<std::int64_t>();
    case Json::value_t::number_unsigned:
      return tree.get<std::uint64_t>();
    case Json::value_t::number_float:
      return tree.get<double>();
    case Json::value_t::string:
      return tree.get<std::string>();
    case Json::value_t::array: {
      checkDepth(depth);
      Value::List list;
      for (const Json& element : tree) list.push_back(valueOf(element, depth + 1));
      return list;
    }
    case Json::value_t::object: {
      const bool special = tree.size() == 1 && tree.begin().key().starts_with('$');
      return special ? specialOf(tree.begin().key(), tree.begin().value(), depth) : mapOf(tree, depth);
    }
    default:
      refuse("what JSON does not have");
  }
}

}  // namespace

std::string jsonOf(const Value& value) {
  return dump(treeOf(value));
}

Value valueOfJson(std::string_view text) {
  try {
    return valueOf(Json::parse(text), 0);
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const std::string_view what = error.what();
    const std::size_t bracket = what.find("] ");
    refuse(std::string(bracket == what.npos ? what : what.substr(bracket + 2)));
  }
}

Value valueOfText(std::string_view text) {
  if (isUtf8(text)) return text;
  return bytesOf(text);
}

std::string plainOf(const Value& value) {
  if (const auto* text = value.getIf<std::string>()) return *text;
  if (const auto* data = value.getIf<Value::Data>()) return std::string(viewOf(*data));
  return jsonOf(value);
}

MessageValue::MessageValue(std::span<const std::byte> message) : bytes(message) {
  try {
    value = decode(message);
    isValue = true;
  } catch (const Error&) {
    // Whoever put it did not speak in values.
  }
}

std::string MessageValue::plain() const {
  return isValue ? plainOf(value) : std::string(viewOf(bytes));
}

std::string MessageValue::json() const {
  return isValue ? jsonOf(value) : dump({{"$bytes", base64(viewOf(bytes))}});
}

}  // namespace baton::ctl
