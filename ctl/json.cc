#include "ctl/json.h"

#include <fmt/format.h>

#include <cstdio>

#include "ctl/exit_code.h"
#include "ctl/json_parts.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ipc/value.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

// NAME: the words as text; where that loses bytes NAME_base64 has them all.
void addWords(Json& json, const std::string& name, capnp::List<capnp::Data>::Reader list) {
  Json texts = Json::array();
  bool exact = true;
  for (const auto word : list) {
    texts.emplace_back(view(word));
    exact = exact && isUtf8(view(word));
  }
  json[name] = std::move(texts);
  if (exact) return;
  Json coded = Json::array();
  for (const auto word : list) coded.emplace_back(base64(view(word)));
  json[name + "_base64"] = std::move(coded);
}

const char* laneName(wire::Lane lane) {
  return lane == wire::Lane::IO ? "io" : "cpu";
}

const char* outputName(wire::OutputMode mode) {
  switch (mode) {
    case wire::OutputMode::LOG:
      return "log";
    case wire::OutputMode::STREAM:
      return "stream";
    case wire::OutputMode::PARCEL:
      return "passed";
  }
  return "unknown";
}

void addOptions(Json& json, wire::TaskOptions::Reader options) {
  json["name"] = textOrNull(view(options.getName()));
  json["priority"] = options.getPriority();
  json["lane"] = laneName(options.getLane());
  json["slots"] = options.getLane() == wire::Lane::IO ? 0 : options.getSlots();
  json["time_limit_seconds"] = secondsOrNull(options.getTimeLimitNs());
  json["grace_seconds"] = seconds(options.getGraceNs());
  json["queue_limit_seconds"] = secondsOrNull(options.getQueueLimitNs());
  json["attempts"] = options.getAttempts();
  json["detach_children"] = options.getDetachChildren();
  json["output"] = outputName(options.getOutput());
  json["stdin_path"] = textOrNull(view(options.getStdinPath()));
  json["stdout_path"] = textOrNull(view(options.getStdoutPath()));
  json["stderr_path"] = textOrNull(view(options.getStderrPath()));
}

void addResult(Json& json, wire::TaskRow::Reader row) {
  const bool ended = hasEnded(row.getState());
  json["cause"] = textOrNull(causeName(row.getCause()));
  json["exit_code"] = ended ? Json(outcomeOf(row).code) : Json();
  json["signal"] = row.getSignal() == 0 ? Json() : Json(signalName(row.getSignal()));
  json["core_dumped"] = row.getCoreDumped();
  json["detail"] = textOrNull(view(row.getDetail()));
  json["submitted_at"] = secondsOrNull(row.getSubmittedNs());
  json["started_at"] = secondsOrNull(row.getStartedNs());
  json["ended_at"] = secondsOrNull(row.getEndedNs());
  json["wall_seconds"] = ended ? seconds(row.getWallNs()) : Json();
  json["user_seconds"] = ended ? seconds(row.getUserNs()) : Json();
  json["system_seconds"] = ended ? seconds(row.getSystemNs()) : Json();
  json["peak_bytes"] = orNull(row.getPeakBytes());
  json["peak_is_upper_bound"] = row.getPeakIsUpperBound();
  json["output_bytes"] = row.getOutputBytes();
}

void addPlace(Json& json, wire::TaskRow::Reader row) {
  json["uid"] = row.getUid();
  json["pid"] = row.getPid() == 0 ? Json() : Json(row.getPid());
  json["worker"] = orNull(row.getWorker());
  json["slot"] = orNull(row.getSlot());
  json["attempt"] = row.getAttempt();
  json["attached"] = row.getAttached();
  json["parked"] = row.getParked();
  json["over"] = row.getOver();
  json["stopped"] = row.getStopped();
  Json escaped = Json::array();
  for (const auto pid : row.getEscaped()) escaped.push_back(pid);
  json["escaped"] = std::move(escaped);
}

Json taskObject(wire::TaskRow::Reader row) {
  Json json;
  json["type"] = "task";
  json["id"] = idText(row);
  json["task"] = row.getId();
  json["batch"] = orNull(row.getBatch());
  json["index"] = orNull(row.getIndex());
  json["state"] = stateName(row.getState());
  addResult(json, row);
  // Short rows, as of `wait` and `events`, come without.
  if (row.hasArgv()) addWords(json, "argv", row.getArgv());
  if (row.hasOptions()) addOptions(json, row.getOptions());
  addPlace(json, row);
  if (row.hasCwd()) json["cwd"] = view(row.getCwd());
  if (row.hasEnvironment()) addWords(json, "environment", row.getEnvironment());
  return json;
}

Json batchObject(wire::BatchRow::Reader row) {
  Json json;
  json["type"] = "batch";
  json["id"] = std::to_string(row.getId());
  json["batch"] = row.getId();
  json["state"] = batchStateName(row);
  json["exit_code"] = hasEnded(row) ? Json(row.getExitCode()) : Json();
  json["closed"] = row.getClosed();
  json["total"] = row.getTotal();
  Json counts = Json::object();
  const auto byState = row.getCounts();
  for (unsigned state = 0; state < byState.size(); ++state) {
    counts[stateName(static_cast<wire::State>(state))] = byState[state];
  }
  json["counts"] = std::move(counts);
  json["submitted_at"] = secondsOrNull(row.getSubmittedNs());
  json["ended_at"] = secondsOrNull(row.getEndedNs());
  addWords(json, "argv", row.getSample());
  addOptions(json, row.getOptions());
  json["uid"] = row.getUid();
  json["attached"] = row.getAttached();
  return json;
}

const char* eventName(wire::TaskEvent::Kind kind) {
  switch (kind) {
    case wire::TaskEvent::Kind::SUBMITTED:
      return "submitted";
    case wire::TaskEvent::Kind::STARTED:
      return "started";
    case wire::TaskEvent::Kind::ENDED:
      return "ended";
    case wire::TaskEvent::Kind::STATE:
      return "state";
    case wire::TaskEvent::Kind::MISSED:
      return "missed";
    case wire::TaskEvent::Kind::DAEMON:
      return "daemon";
  }
  return "unknown";
}

}  // namespace

std::string toJson(wire::TaskRow::Reader row) {
  return dump(taskObject(row));
}

std::string toJson(wire::BatchRow::Reader row) {
  return dump(batchObject(row));
}

std::string toJson(wire::Row::Reader row) {
  return row.isBatch() ? toJson(row.getBatch()) : toJson(row.getTask());
}

std::string toJson(wire::Explanation::Reader explanation, const TaskRef& ref) {
  Json json;
  json["id"] = toString(ref);
  json["task"] = explanation.getId();
  Json text = Json::array();
  for (const auto sentence : explanation.getText()) text.emplace_back(view(sentence));
  json["text"] = std::move(text);
  json["ahead"] = explanation.getAhead();
  return dump(json);
}

std::string toJson(wire::TaskEvent::Reader event) {
  Json json;
  json["event"] = eventName(event.getKind());
  json["at"] = seconds(event.getTimeNs());
  switch (event.getKind()) {
    case wire::TaskEvent::Kind::MISSED:
      json["missed"] = event.getMissed();
      break;
    case wire::TaskEvent::Kind::DAEMON:
      json["text"] = view(event.getText());
      break;
    default: {
      if (event.getText().size() > 0) json["text"] = view(event.getText());
      json["row"] = taskObject(event.getRow());
    }
  }
  return dump(json);
}

std::string toJson(wire::Status::Reader status) {
  Json json;
  json["version"] = view(status.getVersion());
  json["mode"] = view(status.getMode());
  json["pid"] = status.getPid();
  json["socket"] = view(status.getSocket());
  json["state_directory"] = view(status.getStateDirectory());
  json["uptime_seconds"] = seconds(status.getUptimeNs());
  json["slots"] = status.getSlots();
  json["slots_reason"] = view(status.getSlotsReason());
  json["slots_used"] = status.getSlotsUsed();
  json["slots_over"] = status.getSlotsOver();
  json["io_running"] = status.getIoRunning();
  json["io_limit"] = status.getIoLimit();
  json["queued"] = status.getQueued();
  json["held"] = status.getHeld();
  json["running"] = status.getRunning();
  json["parked"] = status.getParked();
  json["finished_kept"] = status.getFinishedKept();
  json["submitted_ever"] = status.getSubmittedEver();
  json["ended_ever"] = status.getEndedEver();
  json["workers"] = status.getWorkers();
  json["workers_lost"] = status.getWorkersLost();
  json["workers_started"] = status.getWorkersStarted();
  json["strays"] = status.getStrays();
  json["connections"] = status.getConnections();
  json["bad_frames"] = status.getBadFrames();
  json["slow_closed"] = status.getSlowClosed();
  json["in_flight_bytes"] = status.getInFlightBytes();
  json["in_flight_limit_bytes"] = status.getInFlightLimitBytes();
  json["ring_bytes"] = status.getRingBytes();
  json["draining"] = status.getDraining();
  json["stopping"] = status.getStopping();
  json["contexts"] = status.getContexts();
  json["context_bytes"] = status.getContextBytes();
  json["log_bytes"] = status.getLogBytes();
  json["log_limit_bytes"] = status.getLogLimitBytes();
  json["queues"] = status.getQueues();
  json["queue_bytes"] = status.getQueueBytes();
  json["rss_bytes"] = status.getRssBytes();
  json["tree_end"] = view(status.getTreeEnd());
  Json notes = Json::array();
  for (const auto note : status.getNotes()) notes.emplace_back(view(note));
  json["notes"] = std::move(notes);
  return dump(json);
}

std::string toJson(wire::WorkerRow::Reader worker) {
  Json json;
  json["id"] = worker.getId();
  json["pid"] = worker.getPid();
  json["uid"] = worker.getUid();
  json["runtime"] = view(worker.getRuntime());
  json["state"] = view(worker.getState());
  json["lane"] = laneName(worker.getLane());
  json["slot"] = orNull(worker.getSlot());
  json["task"] = orNull(worker.getTask());
  json["tasks_run"] = worker.getTasksRun();
  json["started_at"] = secondsOrNull(worker.getStartedNs());
  return dump(json);
}

std::string toJson(wire::ConfigRow::Reader row) {
  Json json;
  json["key"] = view(row.getKey());
  json["value"] = view(row.getValue());
  json["source"] = view(row.getSource());
  json["meaning"] = view(row.getMeaning());
  return dump(json);
}

std::string toJson(wire::HelloReply::Reader hello) {
  Json json;
  json["version"] = view(hello.getVersion());
  json["pid"] = hello.getPid();
  json["protocol"] = fmt::format("{}.{}", hello.getMajor(), hello.getMinor());
  return dump(json);
}

std::string toJson(const TaskRef& ref, const ipc::LogHeader& header, std::string_view piece) {
  constexpr std::uint8_t kStderr = 2;
  Json json;
  json["id"] = toString(ref);
  json["at"] = seconds(header.timeNs);
  json["stream"] = header.stream == kStderr ? "stderr" : "stdout";
  json["text"] = piece;
  if (!isUtf8(piece)) json["base64"] = base64(piece);
  return dump(json);
}

std::string jsonString(std::string_view text) {
  return dump(Json(text));
}

JsonArray::~JsonArray() {
  if (!finished_ && !empty_) std::fputs("\n]\n", stdout);
}

void JsonArray::add(const std::string& value) {
  print(empty_ ? "[\n" : ",\n");
  print(value);
  empty_ = false;
}

void JsonArray::finish() {
  finished_ = true;
  print(empty_ ? "[]\n" : "\n]\n");
}

}  // namespace baton::ctl
