// A value as queues, pipes and functions carry it: what it is in C++, and as Cap'n Proto bytes that any
// language reads (Value in ipc/objects.capnp). Plain data: owns all that it holds, any thread.
//
// 1. What encode() returns, decode() takes, here and in any other process.
// 2. decode() takes bytes of anybody: they are checked whole before anything is believed, and memory is
//    bounded by their size.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace baton {

// Lists and maps inside each other. Every reader in every language has to follow them, often by recursion.
constexpr int kMaxValueDepth = 10;

// An array of numbers: its bytes, or the name of a shared memory that has them.
struct Tensor {
  std::string dtype;                 // f4 f8, i1 i2 i4 i8, u1 u2 u4 u8, b1; little-endian
  std::vector<std::uint64_t> shape;  // row-major; empty: one number
  std::vector<std::byte> bytes;      // with shm: none
  std::string shm;
  bool operator==(const Tensor&) const = default;
};

// Bytes that only a codec understands, as a pickle.
struct Opaque {
  std::string codec;
  std::vector<std::byte> bytes;
  bool operator==(const Opaque&) const = default;
};

class Value {
 public:
  // In the order of the schema's union.
  enum class Kind : std::uint8_t {
    null,
    boolean,
    int64,
    uint64,
    float64,
    text,
    data,
    list,
    map,
    tensor,
    opaque
  };
  struct Entry;
  using Data = std::vector<std::byte>;
  using List = std::vector<Value>;
  using Map = std::vector<Entry>;  // in the order of their making; keys differ

  Value();
  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();
  Value(std::nullptr_t);
  Value(std::same_as<bool> auto yes) { set(yes); }
  // Whole numbers are int64; only what does not fit is uint64.
  Value(std::signed_integral auto number) { set(static_cast<std::int64_t>(number)); }
  Value(std::unsigned_integral auto number) requires(!std::same_as<decltype(number), bool>) {
    if (std::in_range<std::int64_t>(number)) {
      set(static_cast<std::int64_t>(number));
    } else {
      set(static_cast<std::uint64_t>(number));
    }
  }
  Value(std::floating_point auto number) { set(static_cast<double>(number)); }
  Value(std::string text);
  Value(std::string_view text);
  Value(const char* text);
  Value(Data bytes);
  Value(List list);
  Value(Map map);
  Value(Tensor tensor);
  Value(Opaque opaque);

  Kind kind() const { return static_cast<Kind>(content_.index()); }
  bool isNull() const { return kind() == Kind::null; }
  // The content, if it is a T: bool, int64_t, uint64_t, double, std::string, Data, List, Map, Tensor, Opaque.
  template <class T>
  const T* getIf() const {
    return std::get_if<T>(&content_);
  }
  template <class T>
  T* getIf() {
    return std::get_if<T>(&content_);
  }
  // Of a map: the value of this key; nullptr if there is none, or this is no map.
  const Value* find(std::string_view key) const;

  // Kinds must agree: an int64 is no float64. Two maps are equal whatever their order.
  friend bool operator==(const Value& a, const Value& b);

 private:
  void set(bool yes);
  void set(std::int64_t number);
  void set(std::uint64_t number);
  void set(double number);

  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Data, List, Map,
               Tensor, Opaque>
      content_;
};

struct Value::Entry {
  std::string key;
  Value value;
  bool operator==(const Entry&) const = default;
};

// Here an entry is complete: what handles the content needs that.
inline Value::Value() = default;
inline Value::Value(const Value&) = default;
inline Value::Value(Value&&) noexcept = default;
inline Value& Value::operator=(const Value&) = default;
inline Value& Value::operator=(Value&&) noexcept = default;
inline Value::~Value() = default;
inline Value::Value(std::nullptr_t) {}
inline void Value::set(bool yes) {
  content_ = yes;
}
inline void Value::set(std::int64_t number) {
  content_ = number;
}
inline void Value::set(std::uint64_t number) {
  content_ = number;
}
inline void Value::set(double number) {
  content_ = number;
}
inline Value::Value(std::string text) : content_(std::move(text)) {}
inline Value::Value(std::string_view text) : content_(std::string(text)) {}
inline Value::Value(const char* text) : content_(std::string(text)) {}
inline Value::Value(Data bytes) : content_(std::move(bytes)) {}
inline Value::Value(List list) : content_(std::move(list)) {}
inline Value::Value(Map map) : content_(std::move(map)) {}
inline Value::Value(Tensor tensor) : content_(std::move(tensor)) {}
inline Value::Value(Opaque opaque) : content_(std::move(opaque)) {}

// "int64", "list", ...
std::string_view nameOf(Value::Kind kind);

// One message of Cap'n Proto in stream framing. Throws Error(usage) for what no reader would take: deeper
// than kMaxValueDepth, text that is no UTF-8, a key twice, a tensor whose parts do not fit; Error(tooLarge)
// for a list or text beyond what Cap'n Proto can hold (512 Mi).
std::vector<std::byte> encode(const Value& value);

// `bytes` must not change meanwhile. Throws Error(protocol) for anything that encode() would not have made,
// be it in another shape: a stranger's segments are taken.
Value decode(std::span<const std::byte> bytes);

bool isUtf8(std::string_view text);

}  // namespace baton
