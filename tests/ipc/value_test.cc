#include "ipc/value.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>

#include "ipc/error.h"
#include "ipc/objects.capnp.h"

namespace baton {
namespace {

std::vector<std::byte> bytes(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

Code codeOf(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return Code::ok;
}

// As another library would write it: the parts of `value` wherever `build` puts them.
std::vector<std::byte> foreign(const std::function<void(ipc::wire::Value::Builder)>& build,
                               unsigned firstSegment = 1) {
  capnp::MallocMessageBuilder message(firstSegment, capnp::AllocationStrategy::FIXED_SIZE);
  build(message.initRoot<ipc::wire::Value>());
  const auto segments = message.getSegmentsForOutput();
  std::vector<std::uint32_t> table((segments.size() / 2 + 1) * 2, 0);
  table[0] = static_cast<std::uint32_t>(segments.size() - 1);
  for (std::size_t i = 0; i < segments.size(); ++i)
    table[i + 1] = static_cast<std::uint32_t>(segments[i].size());
  std::vector<std::byte> out(table.size() * 4);
  std::memcpy(out.data(), table.data(), out.size());
  for (const auto segment : segments) {
    const auto* begin = reinterpret_cast<const std::byte*>(segment.begin());
    out.insert(out.end(), begin, begin + segment.asBytes().size());
  }
  return out;
}

Value nested(int depth) {
  Value value = 1;
  for (int i = 0; i < depth; ++i) {
    if (i % 2 == 0) {
      value = Value::Map{{"k", std::move(value)}};
    } else {
      value = Value::List{std::move(value)};
    }
  }
  return value;
}

TEST(Value, everyKindComesBackAsItWas) {
  const std::vector<Value> values = {nullptr,
                                     true,
                                     false,
                                     0,
                                     -1,
                                     INT64_MIN,
                                     INT64_MAX,
                                     UINT64_MAX,
                                     0.5,
                                     -INFINITY,
                                     "",
                                     "grüße \xF0\x9F\x8E\xB5",
                                     std::string("with\0nul", 8),
                                     Value::Data{},
                                     bytes("\xff\x00\x01"),
                                     Value::List{},
                                     Value::List{1, "two", 3.0, nullptr},
                                     Value::Map{},
                                     Value::Map{{"b", 1}, {"a", Value::List{true}}, {"", nullptr}},
                                     Tensor{"f4", {2, 3}, std::vector<std::byte>(24), ""},
                                     Tensor{"i8", {}, std::vector<std::byte>(8), ""},
                                     Tensor{"u1", {1000, 1000}, {}, "frames"},
                                     Opaque{"pickle", bytes("\x80\x05.")},
                                     nested(kMaxValueDepth)};
  for (const Value& value : values) {
    const Value back = decode(encode(value));
    EXPECT_EQ(back, value) << nameOf(value.kind());
    EXPECT_EQ(back.kind(), value.kind());
  }
  EXPECT_TRUE(std::isnan(*decode(encode(NAN)).getIf<double>()));
}

TEST(Value, kindsOfNumbersStayApart) {
  EXPECT_NE(Value(1), Value(1.0));
  EXPECT_NE(Value(1), Value(true));
  EXPECT_NE(Value("1"), Value(bytes("1")));
  EXPECT_NE(Value(), Value(false));
  EXPECT_EQ(Value(7U), Value(7));
  EXPECT_EQ(Value(UINT64_MAX).kind(), Value::Kind::uint64);
}

TEST(Value, mapsAreEqualInAnyOrder) {
  EXPECT_EQ((Value::Map{{"a", 1}, {"b", 2}}), (Value(Value::Map{{"b", 2}, {"a", 1}})));
  EXPECT_NE(Value(Value::Map{{"a", 1}}), Value(Value::Map{{"a", 2}}));
  EXPECT_NE(Value(Value::Map{{"a", 1}}), Value(Value::Map{{"b", 1}}));
  const Value map = Value::Map{{"a", 1}, {"b", "x"}};
  ASSERT_NE(map.find("b"), nullptr);
  EXPECT_EQ(*map.find("b"), Value("x"));
  EXPECT_EQ(map.find("c"), nullptr);
  EXPECT_EQ(Value(1).find("a"), nullptr);
}

TEST(Value, whatNoReaderWouldTakeIsNotSent) {
  Value::Map twice{{"a", 1}, {"a", 2}};
  Value::Map manyTwice;
  for (int i = 0; i < 20; ++i) manyTwice.push_back({std::to_string(i), i});
  manyTwice.push_back({"7", 7});
  const std::vector<Value> wrong = {nested(kMaxValueDepth + 1),
                                    "\xff",
                                    Value::List{"\xc0\xaf"},
                                    Value::Map{{"\xed\xa0\x80", 1}},
                                    twice,
                                    manyTwice,
                                    Opaque{"\xfe", {}},
                                    Tensor{"f2", {1}, std::vector<std::byte>(2), ""},
                                    Tensor{"f4", {2}, std::vector<std::byte>(7), ""},
                                    Tensor{"f4", {1ULL << 62, 16}, {}, ""},
                                    Tensor{"u1", {0, 1}, {}, "\xff"},
                                    Tensor{"u1", {1}, std::vector<std::byte>(1), "name"}};
  for (const Value& value : wrong) {
    EXPECT_EQ(codeOf([&] { encode(value); }), Code::usage) << nameOf(value.kind());
  }
}

TEST(Value, shortListsTakeOneSegmentAndLongOnesToo) {
  for (const int size : {0, 1, 10, 10'000}) {
    const Value value = Value::List(static_cast<std::size_t>(size), Value("some text"));
    const auto out = encode(value);
    std::uint32_t last = 0;
    std::memcpy(&last, out.data(), sizeof(last));
    EXPECT_EQ(last, 0U) << size;
    EXPECT_EQ(decode(out), value);
  }
}

TEST(Value, aStrangersSegmentsAreTaken) {
  const auto out = foreign([](ipc::wire::Value::Builder value) {
    auto list = value.initList(2);
    list[0].setText("a text in a segment of its own");
    list[1].setInt64(7);
  });
  EXPECT_EQ(decode(out), Value(Value::List{"a text in a segment of its own", 7}));
}

TEST(Value, whatBreaksTheRulesIsRefused) {
  const auto refused = [](const std::function<void(ipc::wire::Value::Builder)>& build) {
    return codeOf([&] { decode(foreign(build, 4096)); });
  };
  EXPECT_EQ(refused([](auto value) {
              for (int i = 0; i <= kMaxValueDepth; ++i) {
                auto list = value.initList(1);
                value = list[0];
              }
            }),
            Code::protocol);
  EXPECT_EQ(refused([](auto value) { value.setText("\xff"); }), Code::protocol);
  EXPECT_EQ(refused([](auto value) {
              auto map = value.initMap(2);
              map[0].setKey("k");
              map[1].setKey("k");
            }),
            Code::protocol);
  EXPECT_EQ(refused([](auto value) { value.initTensor().setDtype("f4"); }), Code::protocol)
      << "4 bytes missing";
  EXPECT_EQ(refused([](auto value) {
              auto tensor = value.initTensor();
              tensor.setDtype("f4");
              tensor.initContent().setShm("");
            }),
            Code::protocol);
}

TEST(Value, anUnknownKindIsRefused) {
  auto out = encode(Value(true));
  // Framing is one word, the root pointer another; the union's tag is the first 16 bits of the struct.
  for (const int tag : {11, 0xffff}) {
    const auto wide = static_cast<std::uint16_t>(tag);
    std::memcpy(out.data() + 16, &wide, sizeof(wide));
    EXPECT_EQ(codeOf([&] { decode(out); }), Code::protocol) << tag;
  }
}

TEST(Value, bytesThatAreNoMessageAreRefused) {
  const auto good = encode(Value(Value::List{1, "two"}));
  EXPECT_EQ(codeOf([&] { decode({}); }), Code::protocol);
  for (std::size_t size = 1; size < good.size(); ++size) {
    EXPECT_EQ(codeOf([&] { decode(std::span(good).first(size)); }), Code::protocol) << size;
  }
  auto longer = good;
  longer.resize(longer.size() + 8);
  EXPECT_EQ(codeOf([&] { decode(longer); }), Code::protocol);
  std::vector<std::byte> segments(8 * 40);
  segments[0] = std::byte{16};
  EXPECT_EQ(codeOf([&] { decode(segments); }), Code::protocol);
}

TEST(Value, bytesNeedNotBeAligned) {
  const auto good = encode(Value("x"));
  std::vector<std::byte> shifted(1);
  shifted.insert(shifted.end(), good.begin(), good.end());
  EXPECT_EQ(decode(std::span(shifted).subspan(1)), Value("x"));
}

TEST(Value, aHugeListOfNothingIsNotBelieved) {
  // A list pointer that announces 2^29-1 structs of no size: no memory may be spent on it.
  auto out = encode(Value(Value::List{1}));
  const std::uint64_t tag = (std::uint64_t{(1U << 29) - 1} << 2);  // in the list's tag word: no words each
  std::memcpy(out.data() + 8 + 8 + 24, &tag, sizeof(tag));
  EXPECT_EQ(codeOf([&] { decode(out); }), Code::protocol);
}

TEST(Value, damagedBytesAreAValueOrRefused) {
  std::mt19937 random(1);  // NOLINT: the same every time
  const auto good = encode(Value(Value::Map{{"list", Value::List{1, "two", bytes("three")}},
                                            {"tensor", Tensor{"f4", {1}, std::vector<std::byte>(4), ""}},
                                            {"opaque", Opaque{"pickle", bytes("...")}}}));
  for (int i = 0; i < 20'000; ++i) {
    auto damaged = good;
    for (unsigned k = random() % 3 + 1; k > 0; --k) {
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    }
    try {
      const Value value = decode(damaged);
      EXPECT_EQ(encode(value), encode(decode(encode(value))));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::protocol);
    }
  }
}

TEST(Value, utf8) {
  EXPECT_TRUE(isUtf8(""));
  EXPECT_TRUE(isUtf8("a\xC2\x80\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"));
  for (const char* wrong : {"\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                            "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xE2\x82"}) {
    EXPECT_FALSE(isUtf8(wrong));
  }
}

}  // namespace
}  // namespace baton
