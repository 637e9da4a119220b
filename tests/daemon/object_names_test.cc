#include "daemon/object_names.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr Uid kAnna = 1000;

std::optional<Uid> users(std::string_view name) {
  if (name == "anna") return 1000;
  if (name == "bert") return 1001;
  return std::nullopt;
}

std::string refusal(std::string_view text) {
  try {
    resolveName(text, kAnna, users);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::usage);
    return error.what();
  }
  return {};
}

TEST(ObjectNames, whatIsAName) {
  for (const char* name : {"a", "jobs", "A.b_c@d/e+f-9", "-", "/", ".."})
    EXPECT_TRUE(isObjectName(name)) << name;
  EXPECT_TRUE(isObjectName(std::string(128, 'x')));
  EXPECT_FALSE(isObjectName(std::string(129, 'x')));
  for (const char* name : {"", " ", "a b", "a\n", "a:b", "\xc3\xa4", "a*", "a\x1b[31m"})
    EXPECT_FALSE(isObjectName(name));
  EXPECT_FALSE(isObjectName(std::string_view("a\0b", 3)));
}

TEST(ObjectNames, aPlainNameIsTheAskersOwn) {
  EXPECT_EQ(resolveName("jobs", kAnna, users), (ObjectKey{kAnna, "jobs"}));
}

TEST(ObjectNames, anOwnerIsAUserOrAUid) {
  EXPECT_EQ(resolveName("bert:jobs", kAnna, users), (ObjectKey{1001, "jobs"}));
  EXPECT_EQ(resolveName("1001:jobs", kAnna, users), (ObjectKey{1001, "jobs"}));
  EXPECT_EQ(resolveName("anna:jobs", kAnna, users), (ObjectKey{kAnna, "jobs"}));
  EXPECT_EQ(resolveName("4294967295:jobs", kAnna, users).uid, resolveName("carl:jobs", kAnna, users).uid);
}

TEST(ObjectNames, anUnknownOwnerIsAUidThatNobodyHas) {
  EXPECT_EQ(resolveName("carl:jobs", kAnna, users).uid, static_cast<Uid>(-1));
  EXPECT_EQ(resolveName("99999999999:jobs", kAnna, users).uid, static_cast<Uid>(-1));
}

TEST(ObjectNames, whatIsNoNameSaysWhy) {
  EXPECT_NE(refusal("").find("is no name"), std::string::npos);
  EXPECT_NE(refusal("a b").find("\"a b\" is no name: use letters"), std::string::npos);
  EXPECT_NE(refusal(":jobs").find("OWNER:NAME"), std::string::npos);
  EXPECT_NE(refusal("a:b:c").find("is no name"), std::string::npos);
  EXPECT_NE(refusal(std::string(200, 'x')).find("200 bytes; at most 128"), std::string::npos);
  EXPECT_NE(refusal(std::string(200, 'x') + ":jobs").find("OWNER:NAME"), std::string::npos);
  const std::string hostile = refusal("a\x1b[2J\n");
  EXPECT_EQ(hostile.find('\x1b'), std::string::npos);
  EXPECT_EQ(hostile.find('\n'), std::string::npos);
  EXPECT_LT(refusal(std::string(1 << 20, ' ')).size(), 1000U);
}

TEST(ObjectNames, aNameIsSpelledForWhoAsks) {
  EXPECT_EQ(spell({kAnna, "jobs"}, kAnna), "jobs");
  EXPECT_EQ(spell({kAnna, "jobs"}, 1001), "1000:jobs");
}

TEST(ObjectNames, theErrorForAnUnknownNameTellsANearOne) {
  const std::vector<std::string_view> names = {"jobs", "results", "mail"};
  EXPECT_EQ(unknownName("queue", "jbos", names), "no queue jbos; there is jobs");
  EXPECT_EQ(unknownName("queue", "result", names), "no queue result; there is results");
  EXPECT_EQ(unknownName("queue", "zebra", names), "no queue zebra");
  EXPECT_EQ(unknownName("lock", "jobs", {}), "no lock jobs; there is none at all");
}

TEST(ObjectNames, usersAreThoseOfTheMachine) {
  EXPECT_EQ(userId("root"), 0U);
  EXPECT_EQ(userId("no-such-user-here"), std::nullopt);
  EXPECT_EQ(userId(""), std::nullopt);
}

}  // namespace
}  // namespace baton::daemon
