#include "ctl/json.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

namespace baton::ctl {
namespace {

using Json = nlohmann::json;
namespace wire = ipc::wire;

class TaskJson : public ::testing::Test {
 protected:
  TaskJson() { row_.setId(12); }
  void setArgv(const std::vector<std::string>& words) {
    auto argv = row_.initArgv(static_cast<unsigned>(words.size()));
    for (unsigned i = 0; i < words.size(); ++i) {
      argv.set(i, {reinterpret_cast<const capnp::byte*>(words[i].data()), words[i].size()});
    }
  }
  Json json() { return Json::parse(toJson(row_.asReader())); }

  // By pointer: its destructor may throw, a fixture's may not.
  std::unique_ptr<capnp::MallocMessageBuilder> message_ = std::make_unique<capnp::MallocMessageBuilder>();
  wire::TaskRow::Builder row_ = message_->initRoot<wire::TaskRow>();
};

TEST_F(TaskJson, HasNullForWhatIsNotYet) {
  row_.setState(wire::State::QUEUED);
  const Json json = this->json();
  EXPECT_EQ(json["id"], "12");
  EXPECT_EQ(json["state"], "queued");
  for (const char* field : {"batch", "exit_code", "signal", "cause", "detail", "started_at", "ended_at",
                            "wall_seconds", "pid", "slot", "peak_bytes"}) {
    EXPECT_TRUE(json.at(field).is_null()) << field;
  }
}

TEST_F(TaskJson, HasTimesInSeconds) {
  row_.setState(wire::State::FAILED);
  row_.setCause(wire::Cause::SIGNALLED);
  row_.setSignal(9);
  row_.setSubmittedNs(1'500'000'000);
  row_.setWallNs(250'000'000);
  const Json json = this->json();
  EXPECT_EQ(json["submitted_at"], 1.5);
  EXPECT_EQ(json["wall_seconds"], 0.25);
  EXPECT_EQ(json["exit_code"], 137);
  EXPECT_EQ(json["signal"], "KILL");
  EXPECT_EQ(json["cause"], "signalled");
}

TEST_F(TaskJson, NamesATaskOfABatchAsTheVerbsTakeIt) {
  row_.setBatch(12);
  row_.setIndex(3);
  EXPECT_EQ(json()["id"], "12.3");
  EXPECT_EQ(json()["batch"], 12);
  EXPECT_EQ(json()["index"], 3);
}

TEST_F(TaskJson, KeepsEveryByteOfACommand) {
  setArgv({"echo", "gr\u00fc\u00df\x1b\n"});
  EXPECT_EQ(json()["argv"][1], "gr\u00fc\u00df\x1b\n");
  EXPECT_FALSE(json().contains("argv_base64"));
  setArgv({"echo", "\xff\xfe"});
  EXPECT_EQ(json()["argv"][1], "\ufffd\ufffd");
  EXPECT_EQ(json()["argv_base64"], (Json{"ZWNobw==", "//4="}));
}

TEST(JsonText, IsOneLineWhateverTheBytes) {
  std::string all;
  for (int byte = 1; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string json = jsonString(all);
  EXPECT_EQ(json.find('\n'), std::string::npos);
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_TRUE(Json::parse(json).is_string());
}

// Names of fields are a promise: each stands in docs/json.md.
class Documented : public ::testing::Test {
 protected:
  static std::string document() {
    std::ifstream file(BATON_SOURCE_DIR "/docs/json.md");
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static void check(const std::string& text) {
    static const std::string document = Documented::document();
    ASSERT_NE(document, "");
    const Json json = Json::parse(text);
    for (const auto& [name, value] : json.items()) {
      EXPECT_NE(document.find("`" + name + "`"), std::string::npos) << name << " is not documented";
    }
  }
  template <typename T>
  void checkAll() {
    capnp::MallocMessageBuilder message;
    check(toJson(message.initRoot<T>().asReader()));
  }
};

TEST_F(Documented, IsEveryField) {
  capnp::MallocMessageBuilder message;
  auto row = message.initRoot<wire::TaskRow>();
  const capnp::byte bad = 0xff;
  row.initArgv(1).set(0, {&bad, 1});
  row.initEnvironment(1).set(0, {&bad, 1});
  row.initCwd(1);
  row.initOptions();
  check(toJson(row.asReader()));
  checkAll<wire::BatchRow>();
  checkAll<wire::TaskEvent>();
  checkAll<wire::Status>();
  checkAll<wire::WorkerRow>();
  checkAll<wire::ConfigRow>();
  checkAll<wire::HelloReply>();
  capnp::MallocMessageBuilder explanation;
  check(toJson(explanation.initRoot<wire::Explanation>().asReader(), {1, 0}));
}

}  // namespace
}  // namespace baton::ctl
