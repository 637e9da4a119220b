// Which rows `list` shows, and how. Rows stream through: what is held in memory is a page and the last ones
// of what has ended.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/json.h"
#include "ctl/table.h"
#include "ipc/client.h"

namespace baton::ctl {

inline constexpr std::int64_t kMostLines = 1'000'000;

struct ListOptions {
  bool all = false;
  bool unfinished = false;
  bool idsOnly = false;
  bool json = false;
  std::uint64_t batch = 0;             // 0: not of a batch
  std::optional<std::uint64_t> lines;  // the newest ones
};

// Prints rows as they are added.
class ListView {
 public:
  explicit ListView(const ListOptions& options);
  void add(ipc::wire::Row::Reader row);
  // Prints what was added since.
  void flush();
  void finish();

 private:
  void addTask(ipc::wire::TaskRow::Reader row);
  void addBatch(ipc::wire::BatchRow::Reader row);

  bool idsOnly_;
  bool json_;
  std::uint64_t now_;
  bool titled_ = false;
  Table table_;
  JsonArray array_;
};

// Asks for pages and prints what the options want. Throws as ipc::Client::call.
void list(ipc::Client& client, const ListOptions& options);

}  // namespace baton::ctl
