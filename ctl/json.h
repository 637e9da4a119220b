// What --json prints; the fields are documented in docs/json.md and only ever added. Each function returns
// one JSON value as one line without its end.
#pragma once

#include <string>

#include "ctl/selection.h"
#include "ipc/baton.capnp.h"
#include "ipc/log_records.h"

namespace baton::ctl {

std::string toJson(ipc::wire::Row::Reader row);
std::string toJson(ipc::wire::TaskRow::Reader row);
std::string toJson(ipc::wire::BatchRow::Reader row);
std::string toJson(ipc::wire::Explanation::Reader explanation, const TaskRef& ref);
std::string toJson(ipc::wire::TaskEvent::Reader event);
std::string toJson(ipc::wire::Status::Reader status);
std::string toJson(ipc::wire::WorkerRow::Reader worker);
std::string toJson(ipc::wire::ConfigRow::Reader row);
std::string toJson(ipc::wire::HelloReply::Reader hello);  // `version`
// A piece of a task's output.
std::string toJson(const TaskRef& ref, const ipc::LogHeader& header, std::string_view piece);

// A text of any bytes as a JSON string; what is no UTF-8 becomes U+FFFD.
std::string jsonString(std::string_view text);

// Prints values as one array, one a line, as they come: `[`, the values, `]`.
class JsonArray {
 public:
  JsonArray() = default;
  JsonArray(const JsonArray&) = delete;
  JsonArray& operator=(const JsonArray&) = delete;
  // On an error closes the array, if it was begun: what was printed is JSON nevertheless.
  ~JsonArray();
  void add(const std::string& value);
  // Prints what is left of the array.
  void finish();

 private:
  bool empty_ = true;
  bool finished_ = false;
};

}  // namespace baton::ctl
