#include "ipc/value.h"

#include <capnp/message.h>
#include <kj/exception.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "ipc/error.h"
#include "ipc/objects.capnp.h"

namespace baton {
namespace {

namespace wire = ipc::wire;

// As of frames: a message built by any library has 1 to 3.
constexpr std::size_t kMaxSegments = 16;
// Of a list or text of Cap'n Proto: 29 bits.
constexpr std::size_t kMaxElements = (std::size_t{1} << 29) - 2;
// A value is followed by at most three pointers a level (list, entry, value), and a tensor's parts below.
constexpr int kMaxNesting = 3 * kMaxValueDepth + 4;

struct Dtype {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<Dtype, 11> kDtypes{{{"f4", 4},
                                         {"f8", 8},
                                         {"i1", 1},
                                         {"i2", 2},
                                         {"i4", 4},
                                         {"i8", 8},
                                         {"u1", 1},
                                         {"u2", 2},
                                         {"u4", 4},
                                         {"u8", 8},
                                         {"b1", 1}}};

// What is wrong with a value; empty: nothing. The same rules for what goes out and what comes in.
std::string faultOf(const Tensor& tensor) {
  const auto type = std::find_if(kDtypes.begin(), kDtypes.end(),
                                 [&](const Dtype& known) { return known.name == tensor.dtype; });
  if (type == kDtypes.end()) return "a tensor of an unknown dtype";
  std::uint64_t bytes = type->bytes;
  for (const std::uint64_t extent : tensor.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return "a tensor larger than memory can be";
  }
  if (!tensor.shm.empty()) {
    if (!tensor.bytes.empty()) return "a tensor with bytes and a shared memory";
    return isUtf8(tensor.shm) ? "" : "a text that is no UTF-8";
  }
  return bytes == tensor.bytes.size() ? "" : "a tensor whose bytes are not what its shape says";
}

bool hasTwice(const Value::Map& map) {
  // A few keys are compared; for many a sorted list of them is worth its making.
  constexpr std::size_t kFew = 8;
  if (map.size() <= kFew) {
    for (auto a = map.begin(); a != map.end(); ++a) {
      if (std::any_of(map.begin(), a, [&](const Value::Entry& b) { return b.key == a->key; })) return true;
    }
    return false;
  }
  std::vector<std::string_view> keys;
  keys.reserve(map.size());
  for (const auto& entry : map) keys.push_back(entry.key);
  std::sort(keys.begin(), keys.end());
  return std::adjacent_find(keys.begin(), keys.end()) != keys.end();
}

std::string faultOf(const Value& value, int depth) {
  const bool container = value.kind() == Value::Kind::list || value.kind() == Value::Kind::map;
  if (container && depth == kMaxValueDepth) return "lists and maps more than 10 deep";
  if (const auto* text = value.getIf<std::string>()) return isUtf8(*text) ? "" : "a text that is no UTF-8";
  if (const auto* tensor = value.getIf<Tensor>()) return faultOf(*tensor);
  if (const auto* opaque = value.getIf<Opaque>())
    return isUtf8(opaque->codec) ? "" : "a text that is no UTF-8";
  if (const auto* list = value.getIf<Value::List>()) {
    for (const Value& element : *list) {
      if (std::string fault = faultOf(element, depth + 1); !fault.empty()) return fault;
    }
  }
  if (const auto* map = value.getIf<Value::Map>()) {
    if (hasTwice(*map)) return "a map with a key twice";
    for (const auto& [key, element] : *map) {
      if (!isUtf8(key)) return "a text that is no UTF-8";
      if (std::string fault = faultOf(element, depth + 1); !fault.empty()) return fault;
    }
  }
  return {};
}

// ---- out -------------------------------------------------------------------------------------------------

unsigned count(std::size_t elements) {
  if (elements > kMaxElements) throw Error(Code::tooLarge, "a list or text in a value is too long");
  return static_cast<unsigned>(elements);
}

capnp::Text::Reader textOf(const std::string& text) {
  return {text.c_str(), count(text.size())};
}

capnp::Data::Reader dataOf(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), count(bytes.size())};
}

// About what it takes, so that one segment holds it; a wrong guess costs a second segment and nothing else.
std::size_t wordsOf(const Value& value) {
  constexpr std::size_t kStruct = 4;
  const auto words = [](std::size_t bytes) { return bytes / sizeof(capnp::word) + 1; };
  std::size_t sum = kStruct;
  if (const auto* text = value.getIf<std::string>()) sum += words(text->size());
  if (const auto* bytes = value.getIf<Value::Data>()) sum += words(bytes->size());
  if (const auto* opaque = value.getIf<Opaque>()) {
    sum += kStruct + words(opaque->codec.size()) + words(opaque->bytes.size());
  }
  if (const auto* tensor = value.getIf<Tensor>()) {
    sum += 2 * kStruct + tensor->shape.size() + words(tensor->bytes.size()) + words(tensor->shm.size());
  }
  if (const auto* list = value.getIf<Value::List>()) {
    for (const Value& element : *list) sum += wordsOf(element);
  }
  if (const auto* map = value.getIf<Value::Map>()) {
    for (const auto& [key, element] : *map) sum += 2 + words(key.size()) + wordsOf(element);
  }
  return sum;
}

void write(const Value& value, wire::Value::Builder to);

void write(const Tensor& tensor, wire::Tensor::Builder to) {
  to.setDtype(textOf(tensor.dtype));
  auto shape = to.initShape(count(tensor.shape.size()));
  for (unsigned i = 0; i < shape.size(); ++i) shape.set(i, tensor.shape[i]);
  if (tensor.shm.empty()) {
    to.initContent().setBytes(dataOf(tensor.bytes));
  } else {
    to.initContent().setShm(textOf(tensor.shm));
  }
}

void write(const Value::Map& map, wire::Value::Builder to) {
  auto entries = to.initMap(count(map.size()));
  for (unsigned i = 0; i < entries.size(); ++i) {
    entries[i].setKey(textOf(map[i].key));
    write(map[i].value, entries[i].initValue());
  }
}

void write(const Value& value, wire::Value::Builder to) {
  switch (value.kind()) {
    case Value::Kind::null:
      return to.setNull();
    case Value::Kind::boolean:
      return to.setBool(*value.getIf<bool>());
    case Value::Kind::int64:
      return to.setInt64(*value.getIf<std::int64_t>());
    case Value::Kind::uint64:
      return to.setUint64(*value.getIf<std::uint64_t>());
    case Value::Kind::float64:
      return to.setFloat64(*value.getIf<double>());
    case Value::Kind::text:
      return to.setText(textOf(*value.getIf<std::string>()));
    case Value::Kind::data:
      return to.setData(dataOf(*value.getIf<Value::Data>()));
    case Value::Kind::list: {
      const auto& list = *value.getIf<Value::List>();
      auto elements = to.initList(count(list.size()));
      for (unsigned i = 0; i < elements.size(); ++i) write(list[i], elements[i]);
      return;
    }
    case Value::Kind::map:
      return write(*value.getIf<Value::Map>(), to);
    case Value::Kind::tensor:
      return write(*value.getIf<Tensor>(), to.initTensor());
    case Value::Kind::opaque: {
      auto opaque = to.initOpaque();
      opaque.setCodec(textOf(value.getIf<Opaque>()->codec));
      opaque.setBytes(dataOf(value.getIf<Opaque>()->bytes));
      return;
    }
  }
}

// ---- in --------------------------------------------------------------------------------------------------

[[noreturn]] void refuse(const std::string& what) {
  throw Error(Code::protocol, "not a value: " + what);
}

std::string stringOf(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

std::vector<std::byte> bytesOf(capnp::Data::Reader data) {
  const auto* begin = reinterpret_cast<const std::byte*>(data.begin());
  return {begin, begin + data.size()};
}

Tensor read(wire::Tensor::Reader from) {
  Tensor tensor;
  tensor.dtype = stringOf(from.getDtype());
  for (const std::uint64_t extent : from.getShape()) tensor.shape.push_back(extent);
  switch (from.getContent().which()) {
    case wire::Tensor::Content::BYTES:
      tensor.bytes = bytesOf(from.getContent().getBytes());
      return tensor;
    case wire::Tensor::Content::SHM:
      tensor.shm = stringOf(from.getContent().getShm());
      if (tensor.shm.empty()) refuse("a tensor in a shared memory without a name");
      return tensor;
  }
  refuse("a tensor of an unknown kind");
}

Value read(wire::Value::Reader from, int depth) {
  switch (from.which()) {
    case wire::Value::NULL_:
      return {};
    case wire::Value::BOOL:
      return from.getBool();
    case wire::Value::INT64:
      return from.getInt64();
    case wire::Value::UINT64:
      return from.getUint64();
    case wire::Value::FLOAT64:
      return from.getFloat64();
    case wire::Value::TEXT:
      return stringOf(from.getText());
    case wire::Value::DATA:
      return bytesOf(from.getData());
    case wire::Value::LIST: {
      if (depth == kMaxValueDepth) refuse("lists and maps more than 10 deep");
      Value::List list;
      for (const auto element : from.getList()) list.push_back(read(element, depth + 1));
      return list;
    }
    case wire::Value::MAP: {
      if (depth == kMaxValueDepth) refuse("lists and maps more than 10 deep");
      Value::Map map;
      for (const auto entry : from.getMap()) {
        map.push_back({stringOf(entry.getKey()), read(entry.getValue(), depth + 1)});
      }
      return map;
    }
    case wire::Value::TENSOR:
      return read(from.getTensor());
    case wire::Value::OPAQUE:
      return Opaque{stringOf(from.getOpaque().getCodec()), bytesOf(from.getOpaque().getBytes())};
  }
  refuse("of an unknown kind");
}

using Segments = std::vector<kj::ArrayPtr<const capnp::word>>;

// The segments of a message in stream framing that fills `words`.
Segments segmentsOf(std::span<const capnp::word> words) {
  const auto word32 = [&](std::size_t index) {
    std::uint32_t number = 0;
    std::memcpy(&number, reinterpret_cast<const char*>(words.data()) + index * sizeof(number),
                sizeof(number));
    return std::size_t{number};
  };
  if (words.empty()) refuse("no bytes");
  if (word32(0) >= kMaxSegments) refuse("too many segments");
  const std::size_t segmentCount = word32(0) + 1;
  std::size_t offset = segmentCount / 2 + 1;
  if (offset > words.size()) refuse("a cut segment table");
  Segments segments;
  for (std::size_t i = 0; i < segmentCount; ++i) {
    const std::size_t size = word32(i + 1);
    if (size > words.size() - offset) refuse("a segment beyond the end");
    segments.emplace_back(words.data() + offset, size);
    offset += size;
  }
  if (offset != words.size()) refuse("bytes behind its end");
  return segments;
}

Value decodeWords(std::span<const capnp::word> words) {
  const Segments segments = segmentsOf(words);
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 8 * words.size() + 1024;
  options.nestingLimit = kMaxNesting;
  try {
    capnp::SegmentArrayMessageReader reader(kj::arrayPtr(segments.data(), segments.size()), options);
    return read(reader.getRoot<wire::Value>(), 0);
  } catch (const kj::Exception& error) {
    refuse(error.getDescription().cStr());
  }
}

std::optional<std::size_t> tailOf(unsigned char lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xc2 && lead < 0xe0) return 1;
  if (lead >= 0xe0 && lead < 0xf0) return 2;
  if (lead >= 0xf0 && lead < 0xf5) return 3;
  return std::nullopt;
}

}  // namespace

bool isUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto at = [&](std::size_t k) { return static_cast<unsigned char>(text[i + k]); };
    const auto tail = tailOf(at(0));
    if (!tail || text.size() - i <= *tail) return false;
    for (std::size_t k = 1; k <= *tail; ++k) {
      if ((at(k) & 0xc0U) != 0x80U) return false;
    }
    // No second spelling, no surrogate, nothing beyond U+10FFFF.
    if (at(0) == 0xe0 && at(1) < 0xa0) return false;
    if (at(0) == 0xed && at(1) >= 0xa0) return false;
    if (at(0) == 0xf0 && at(1) < 0x90) return false;
    if (at(0) == 0xf4 && at(1) >= 0x90) return false;
    i += *tail + 1;
  }
  return true;
}

const Value* Value::find(std::string_view key) const {
  const Map* map = getIf<Map>();
  if (map == nullptr) return nullptr;
  const auto found =
      std::find_if(map->begin(), map->end(), [&](const Entry& entry) { return entry.key == key; });
  return found == map->end() ? nullptr : &found->value;
}

bool operator==(const Value& a, const Value& b) {
  const auto* mapA = a.getIf<Value::Map>();
  const auto* mapB = b.getIf<Value::Map>();
  if (mapA == nullptr || mapB == nullptr)
    return a.content_.index() == b.content_.index() && a.content_ == b.content_;
  if (mapA->size() != mapB->size()) return false;
  std::vector<const Value::Entry*> left;
  std::vector<const Value::Entry*> right;
  for (const auto& entry : *mapA) left.push_back(&entry);
  for (const auto& entry : *mapB) right.push_back(&entry);
  const auto byKey = [](const Value::Entry* x, const Value::Entry* y) { return x->key < y->key; };
  std::sort(left.begin(), left.end(), byKey);
  std::sort(right.begin(), right.end(), byKey);
  return std::equal(
      left.begin(), left.end(), right.begin(),
      [](const Value::Entry* x, const Value::Entry* y) { return x->key == y->key && x->value == y->value; });
}

std::string_view nameOf(Value::Kind kind) {
  constexpr std::array<std::string_view, 11> kNames{"null", "bool", "int64", "uint64", "float64", "text",
                                                    "data", "list", "map",   "tensor", "opaque"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::vector<std::byte> encode(const Value& value) {
  if (const std::string fault = faultOf(value, 0); !fault.empty()) {
    throw Error(Code::usage, "a value cannot be sent: " + fault);
  }
  capnp::MallocMessageBuilder message(static_cast<unsigned>(std::min(wordsOf(value) + 1, kMaxElements / 8)));
  write(value, message.initRoot<wire::Value>());
  const auto segments = message.getSegmentsForOutput();
  std::vector<std::uint32_t> table((segments.size() / 2 + 1) * 2, 0);
  table[0] = static_cast<std::uint32_t>(segments.size() - 1);
  std::size_t bytes = table.size() * sizeof(std::uint32_t);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    table[i + 1] = static_cast<std::uint32_t>(segments[i].size());
    bytes += segments[i].asBytes().size();
  }
  std::vector<std::byte> out;
  out.reserve(bytes);
  const auto append = [&](const void* from, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(from);
    out.insert(out.end(), begin, begin + size);
  };
  append(table.data(), table.size() * sizeof(std::uint32_t));
  for (const auto segment : segments) append(segment.begin(), segment.asBytes().size());
  return out;
}

Value decode(std::span<const std::byte> bytes) {
  constexpr std::size_t kWord = sizeof(capnp::word);
  if (bytes.size() % kWord != 0) refuse("not a whole number of words");
  Value value;
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint64_t) == 0) {
    value = decodeWords({reinterpret_cast<const capnp::word*>(bytes.data()), bytes.size() / kWord});
  } else {
    auto words = kj::heapArray<capnp::word>(bytes.size() / kWord);
    std::memcpy(words.begin(), bytes.data(), bytes.size());
    value = decodeWords({words.begin(), words.size()});
  }
  if (const std::string fault = faultOf(value, 0); !fault.empty()) refuse(fault);
  return value;
}

}  // namespace baton
