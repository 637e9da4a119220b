#include "ctl/value_text.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

std::vector<std::byte> bytes(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

std::string refusal(std::string_view text) {
  try {
    valueOfJson(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::usage);
    return error.what();
  }
  return "taken";
}

TEST(ValueText, everyValueComesBackFromItsJson) {
  const std::vector<std::pair<Value, std::string>> all = {
      {nullptr, "null"},
      {true, "true"},
      {-7, "-7"},
      {INT64_MIN, "-9223372036854775808"},
      {UINT64_MAX, "18446744073709551615"},
      {0.5, "0.5"},
      {1.0, "1.0"},
      {HUGE_VAL, R"({"$float":"inf"})"},
      {-HUGE_VAL, R"({"$float":"-inf"})"},
      {"grüße\n", R"("gr\u00fc\u00dfe\n")"},
      {bytes(std::string("\0\xff", 2)), R"({"$data":"AP8="})"},
      {bytes(""), R"({"$data":""})"},
      {Value::List{1, Value::List{}}, "[1,[]]"},
      {Value::Map{{"b", 1}, {"a", nullptr}}, R"({"b":1,"a":null})"},
      {Value::Map{{"$data", 1}}, R"({"$map":{"$data":1}})"},
      {Value::Map{{"$data", 1}, {"x", 2}}, R"({"$data":1,"x":2})"},
      {Value::Map{}, "{}"},
      {Tensor{"u1", {2}, bytes("ab"), ""}, R"({"$tensor":{"dtype":"u1","shape":[2],"data":"YWI="}})"},
      {Tensor{"f4", {9}, {}, "frames"}, R"({"$tensor":{"dtype":"f4","shape":[9],"shm":"frames"}})"},
      {Opaque{"pickle", bytes("...")}, R"({"$opaque":{"codec":"pickle","data":"Li4u"}})"}};
  for (const auto& [value, json] : all) {
    EXPECT_EQ(jsonOf(value), json);
    EXPECT_EQ(valueOfJson(json), value) << json;
  }
  EXPECT_EQ(jsonOf(std::nan("")), R"({"$float":"nan"})");
  EXPECT_TRUE(std::isnan(*valueOfJson(R"({"$float":"nan"})").getIf<double>()));
}

TEST(ValueText, whatIsNoValueSaysWhy) {
  EXPECT_NE(refusal("").find("parse error"), std::string::npos);
  EXPECT_NE(refusal("{\"a\":}").find("line 1"), std::string::npos);
  EXPECT_NE(refusal(R"({"$data":"x"})").find("base64"), std::string::npos);
  EXPECT_NE(refusal(R"({"$data":"AP8=AP8="})").find("base64"), std::string::npos);
  EXPECT_NE(refusal(R"({"$data":7})").find("no value in JSON"), std::string::npos);
  EXPECT_NE(refusal(R"({"$float":"big"})").find("nan, inf"), std::string::npos);
  EXPECT_NE(refusal(R"({"$what":1})").find("$map"), std::string::npos);
  EXPECT_NE(refusal(R"({"$tensor":{"dtype":"f4"}})").find("\"shape\" is missing"), std::string::npos);
  EXPECT_NE(refusal(std::string(11, '[') + std::string(11, ']')).find("10 deep"), std::string::npos);
  EXPECT_EQ(refusal(std::string(10, '[') + std::string(10, ']')), "taken");
  EXPECT_NE(refusal(std::string(100'000, '[')).find("no value in JSON"), std::string::npos);
  EXPECT_NE(refusal("\"\xff\"").find("no value in JSON"), std::string::npos);
}

TEST(ValueText, wordsAreTextsOrBytes) {
  EXPECT_EQ(valueOfText("word"), Value("word"));
  EXPECT_EQ(valueOfText("\xff"), Value(bytes("\xff")));
}

TEST(ValueText, plainIsTheTextItselfOrJson) {
  EXPECT_EQ(plainOf("a\nb"), "a\nb");
  EXPECT_EQ(plainOf(bytes("\xff")), "\xff");
  EXPECT_EQ(plainOf(7), "7");
  EXPECT_EQ(plainOf(Value::List{"x"}), "[\"x\"]");
}

TEST(ValueText, aMessageNeedNotBeAValue) {
  const auto encoded = encode(Value("text"));
  EXPECT_EQ(MessageValue(encoded).plain(), "text");
  EXPECT_EQ(MessageValue(encoded).json(), "\"text\"");
  const auto other = bytes("raw\x01");
  EXPECT_EQ(MessageValue(other).plain(), "raw\x01");
  EXPECT_EQ(MessageValue(other).json(), R"({"$bytes":"cmF3AQ=="})");
}

}  // namespace
}  // namespace baton::ctl
