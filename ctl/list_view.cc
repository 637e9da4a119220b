#include "ctl/list_view.h"

#include <fmt/format.h>

#include <deque>
#include <memory>

#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr unsigned kPageRows = 250;  // the most that a request may ask for
constexpr std::size_t kEndedShown = 20;
// Nobody reads more; the daemon is asked for no more either.
constexpr std::size_t kUnfinishedShown = 1000;

// A row that outlives others of its page.
struct KeptRow {
  std::shared_ptr<ipc::ReceivedFrame> page;
  wire::Row::Reader row;
};

bool rowEnded(wire::Row::Reader row) {
  return row.isBatch() ? hasEnded(row.getBatch()) : hasEnded(row.getTask().getState());
}

std::shared_ptr<ipc::ReceivedFrame> fetch(ipc::Client& client, const ListOptions& options,
                                          std::uint64_t after) {
  ipc::Message request;
  auto list = request.frame().initList();
  list.setAfter(after);
  list.setLimit(kPageRows);
  list.setBatch(options.batch);
  list.setUnfinished(options.unfinished);
  return std::make_shared<ipc::ReceivedFrame>(client.call(request));
}

// Every row behind `after` in order, until `take` says no.
template <typename Take>
void forEachRow(ipc::Client& client, const ListOptions& options, std::uint64_t after, Take&& take) {
  do {
    const auto page = fetch(client, options, after);
    const auto listing = page->get().getListing();
    for (const auto row : listing.getRows()) {
      if (!take(KeptRow{page, row})) return;
    }
    after = listing.getNext();
  } while (after != 0);
}

void listAll(ipc::Client& client, const ListOptions& options, ListView& view) {
  const ipc::ReceivedFrame* last = nullptr;
  forEachRow(client, options, 0, [&](const KeptRow& kept) {
    if (last != nullptr && last != kept.page.get()) view.flush();
    last = kept.page.get();
    view.add(kept.row);
    return true;
  });
}

// Goes back from the newest, each time twice as far, until there are enough.
void listNewest(ipc::Client& client, const ListOptions& options, ListView& view) {
  const std::uint64_t last = newest(client, options.batch);
  std::deque<KeptRow> rows;
  std::uint64_t back = *options.lines;
  while (true) {
    const std::uint64_t after = last > back ? last - back : 0;
    rows.clear();
    forEachRow(client, options, after, [&](KeptRow kept) {
      rows.push_back(std::move(kept));
      if (rows.size() > *options.lines) rows.pop_front();
      return true;
    });
    if (after == 0 || rows.size() == *options.lines) break;
    back *= 2;
  }
  for (const KeptRow& kept : rows) view.add(kept.row);
}

// How many that have ended the daemon knows, so that the usual listing need not go through a million queued
// ones.
std::uint64_t endedKept(ipc::Client& client) {
  ipc::Message request;
  request.frame().setStatus();
  return client.call(request).get().getStatusReply().getFinishedKept();
}

// All that has not ended and the last that have.
void listUsual(ipc::Client& client, const ListOptions& options, ListView& view) {
  const std::uint64_t endedInAll = options.unfinished ? 0 : endedKept(client);
  std::uint64_t endedSeen = 0;
  std::uint64_t unfinishedSeen = 0;
  std::deque<KeptRow> ended;
  std::vector<KeptRow> unfinished;
  forEachRow(client, options, 0, [&](KeptRow kept) {
    if (rowEnded(kept.row)) {
      ++endedSeen;
      ended.push_back(std::move(kept));
      if (ended.size() > kEndedShown) ended.pop_front();
    } else if (++unfinishedSeen <= kUnfinishedShown) {
      unfinished.push_back(std::move(kept));
    }
    return unfinishedSeen <= kUnfinishedShown || endedSeen < endedInAll;
  });
  const auto id = [](const KeptRow& kept) {
    return kept.row.isBatch() ? kept.row.getBatch().getId() : kept.row.getTask().getId();
  };
  auto next = unfinished.begin();
  for (const KeptRow& kept : ended) {
    while (next != unfinished.end() && id(*next) < id(kept)) view.add((next++)->row);
    view.add(kept.row);
  }
  while (next != unfinished.end()) view.add((next++)->row);
  if (unfinishedSeen > kUnfinishedShown) {
    complain(fmt::format("more than {} have not ended; `batonctl list -a` lists them all", kUnfinishedShown));
  }
}

std::string named(wire::TaskOptions::Reader options, const std::string& command) {
  const std::string name = ipc::escape(options.getName().cStr());
  return name.empty() ? command : "[" + name + "] " + command;
}

std::string stateText(wire::TaskRow::Reader row) {
  std::string text = stateName(row.getState());
  if (row.getStopped()) return text + " (stopped)";
  if (row.getParked()) return text + " (parked)";
  return row.getOver() ? text + " (over)" : text;
}

std::string timeText(wire::TaskRow::Reader row, std::uint64_t now) {
  if (hasEnded(row.getState())) return row.getStartedNs() == 0 ? "-" : durationText(row.getWallNs());
  return row.getState() == wire::State::RUNNING || row.getState() == wire::State::SUSPENDED
             ? durationText(row.getStartedNs(), now)
             : "-";
}

}  // namespace

ListView::ListView(const ListOptions& options)
    : idsOnly_(options.idsOnly),
      json_(options.json),
      now_(calendarNowNs()),
      table_({{"ID", Table::Align::right},
              {"STATE"},
              {"EXIT", Table::Align::right},
              {"AGE", Table::Align::right},
              {"TIME", Table::Align::right},
              {"COMMAND"}},
             terminalWidth(1)) {}

void ListView::add(wire::Row::Reader row) {
  if (json_) {
    array_.add(toJson(row));
  } else if (idsOnly_) {
    print((row.isBatch() ? std::to_string(row.getBatch().getId()) : idText(row.getTask())) + "\n");
  } else if (row.isBatch()) {
    addBatch(row.getBatch());
  } else {
    addTask(row.getTask());
  }
}

void ListView::addTask(wire::TaskRow::Reader row) {
  titled_ = true;
  std::string command = named(row.getOptions(), commandText(row.getArgv()));
  if (row.getDetail().size() > 0) command += "  (" + ipc::escape(row.getDetail().cStr()) + ")";
  table_.add({idText(row), stateText(row),
              hasEnded(row.getState()) ? std::to_string(outcomeOf(row).code) : "-",
              durationText(row.getSubmittedNs(), now_), timeText(row, now_), std::move(command)});
}

void ListView::addBatch(wire::BatchRow::Reader row) {
  titled_ = true;
  const bool ended = hasEnded(row);
  const std::string command =
      named(row.getOptions(), "(" + batchProgress(row) + ") " + commandText(row.getSample()));
  table_.add({std::to_string(row.getId()), batchStateName(row),
              ended ? std::to_string(row.getExitCode()) : "-", durationText(row.getSubmittedNs(), now_),
              durationText(row.getSubmittedNs(), ended ? row.getEndedNs() : now_), command});
}

void ListView::flush() {
  if (titled_) print(table_.take());
}

void ListView::finish() {
  if (json_) {
    array_.finish();
  } else {
    flush();
  }
  flushOutput();
}

void list(ipc::Client& client, const ListOptions& options) {
  ListView view(options);
  if (options.lines) {
    listNewest(client, options, view);
  } else if (options.all || options.batch != 0) {
    listAll(client, options, view);
  } else {
    listUsual(client, options, view);
  }
  view.finish();
}

}  // namespace baton::ctl
