// The verbs about the daemon itself: ping, drain, resume, stop, reload, config, version.
#include <fmt/format.h>

#include "ctl/exit_code.h"
#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kPing{.verb = "ping",
                                .usage = "[OPTIONS]",
                                .description = "Ask whether the daemon answers, and how quickly.",
                                .footer =
                                    "Exit code: 0 it answers; 125 none runs, or it does not answer.\n"
                                    "\n"
                                    "Examples:\n"
                                    "  batonctl ping\n"
                                    "  batonctl ping >/dev/null 2>&1 || echo 'no daemon'",
                                .words = Arguments::Words::none};

constexpr Arguments::Spec kDrain{
    .verb = "drain",
    .usage = "[OPTIONS]",
    .description =
        "Take no new work: from now on submits are refused; what runs and waits goes on. `batonctl "
        "resume`\nundoes it.",
    .footer =
        "Examples:\n"
        "  batonctl drain\n"
        "  batonctl drain --wait && sudo reboot",
    .words = Arguments::Words::none};

constexpr Arguments::Spec kResume{.verb = "resume",
                                  .usage = "[OPTIONS]",
                                  .description = "Take new work again after `batonctl drain`.",
                                  .footer =
                                      "Examples:\n"
                                      "  batonctl resume",
                                  .words = Arguments::Words::none};

constexpr Arguments::Spec kStop{
    .verb = "stop",
    .usage = "[OPTIONS]",
    .description =
        "End the daemon: it takes no new work, waits for what runs up to the configured stop_timeout,\n"
        "cancels the rest, and ends. Returns when it has gone.",
    .footer =
        "Exit code: 0 it has gone, also if none was running; 125 it could not be told.\n"
        "\n"
        "Examples:\n"
        "  batonctl stop\n"
        "  batonctl stop --now    cancel what runs at once",
    .words = Arguments::Words::none};

constexpr Arguments::Spec kReload{
    .verb = "reload",
    .usage = "[OPTIONS]",
    .description =
        "Have the daemon read its configuration again, and print what has changed. If anything in it is "
        "wrong\nthis is said, with file and line, and nothing is changed.",
    .footer =
        "Exit code: 0 it is in force; 125 it is not.\n"
        "\n"
        "Examples:\n"
        "  batonctl reload",
    .words = Arguments::Words::none};

constexpr Arguments::Spec kConfig{
    .verb = "config",
    .usage = "[OPTIONS]",
    .description = "The configuration in force: each key, its value, where it comes from, and what it means.",
    .footer =
        "Examples:\n"
        "  batonctl config\n"
        "  batonctl --json config | jq -r '.[] | select(.source != \"default\") | .key'",
    .words = Arguments::Words::none};

constexpr Arguments::Spec kVersion{.verb = "version",
                                   .usage = "[OPTIONS]",
                                   .description = "The versions of batonctl and of the daemon, if one runs.",
                                   .footer =
                                       "Examples:\n"
                                       "  batonctl version\n"
                                       "  batonctl --version",
                                   .words = Arguments::Words::none};

// What these verbs have in common: nothing but --system, --user and --json. False: help was printed.
bool parseCommon(const Arguments::Spec& spec, int argc, char** argv, Arguments::Json json,
                 CommonOptions& common) {
  Arguments arguments(spec);
  arguments.common(common, json);
  return arguments.parse(argc, argv);
}

// Until the daemon has closed the connection, which it does when it ends.
void waitForEnd(ipc::Client& client) {
  try {
    while (true) client.receive();
  } catch (const Error& error) {
    if (error.code() != Code::disconnected) throw;
  }
}

}  // namespace

int pingVerb(int argc, char** argv) {
  CommonOptions common;
  if (!parseCommon(kPing, argc, argv, Arguments::Json::yes, common)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().setPing();
  const auto before = std::chrono::steady_clock::now();
  client.call(request);
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - before;
  const auto hello = client.hello();
  if (common.json) {
    print(fmt::format("{{\"seconds\":{:.6f},\"pid\":{}}}\n", taken.count() / 1000, hello.getPid()));
  } else {
    print(fmt::format("batond {} (pid {}) answers in {:.3f} ms\n", ipc::escape(hello.getVersion().cStr()),
                      hello.getPid(), taken.count()));
  }
  return 0;
}

int drainVerb(int argc, char** argv) {
  CommonOptions common;
  bool wait = false;
  Arguments arguments(kDrain);
  arguments.flag("--wait", "return when nothing runs or waits any more", wait);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().setDrain(wait);
  client.call(request);
  return 0;
}

int resumeVerb(int argc, char** argv) {
  CommonOptions common;
  if (!parseCommon(kResume, argc, argv, Arguments::Json::nothing, common)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().setResume();
  client.call(request);
  return 0;
}

int stopVerb(int argc, char** argv) {
  CommonOptions common;
  bool now = false;
  Arguments arguments(kStop);
  arguments.flag("--now", "cancel what runs instead of waiting for it", now);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = tryConnect(common);
  if (!client) return 0;
  ipc::Message request;
  request.frame().initStop().setNow(now);
  try {
    client->call(request);
  } catch (const Error& error) {
    // It may have been quicker than its answer.
    if (error.code() != Code::disconnected) throw;
    return 0;
  }
  waitForEnd(*client);
  return 0;
}

int reloadVerb(int argc, char** argv) {
  CommonOptions common;
  if (!parseCommon(kReload, argc, argv, Arguments::Json::yes, common)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().setReload();
  const auto reply = client.call(request);
  const auto changes = reply.get().getReloaded();
  JsonArray array;
  for (const auto change : changes) {
    common.json ? array.add(jsonString({change.begin(), change.size()}))
                : print(ipc::escape(change.cStr()) + "\n");
  }
  if (common.json) {
    array.finish();
  } else if (changes.size() == 0) {
    print("nothing has changed\n");
  }
  return 0;
}

int configVerb(int argc, char** argv) {
  CommonOptions common;
  if (!parseCommon(kConfig, argc, argv, Arguments::Json::yes, common)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().setConfig();
  const auto reply = client.call(request);
  Table table({{"KEY"}, {"VALUE"}, {"FROM"}, {"MEANING"}}, terminalWidth(1));
  JsonArray array;
  for (const auto row : reply.get().getConfigReply()) {
    if (common.json) {
      array.add(toJson(row));
    } else {
      table.add({ipc::escape(row.getKey().cStr()), ipc::escape(row.getValue().cStr()),
                 ipc::escape(row.getSource().cStr()), ipc::escape(row.getMeaning().cStr())});
    }
  }
  common.json ? array.finish() : print(table.take());
  return 0;
}

int versionVerb(int argc, char** argv) {
  CommonOptions common;
  if (!parseCommon(kVersion, argc, argv, Arguments::Json::yes, common)) return 0;
  std::optional<ipc::Client> client;
  std::string problem = "none runs";
  try {
    client.emplace(connect(common));
  } catch (const Error& error) {
    if (error.code() != Code::noDaemon) problem = error.what();
  }
  if (common.json) {
    print(fmt::format("{{\"batonctl\":{},\"daemon\":{}}}\n", jsonString(BATON_VERSION),
                      client ? toJson(client->hello()) : "null"));
    return 0;
  }
  print("batonctl " BATON_VERSION "\n");
  print(client ? fmt::format("batond {} (pid {})\n", ipc::escape(client->hello().getVersion().cStr()),
                             client->hello().getPid())
               : fmt::format("batond: {}\n", ipc::escape(problem)));
  return 0;
}

}  // namespace baton::ctl
