#include "ctl/selection.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr std::size_t kMaxRefs = 10'000;  // of a Selection on the wire
constexpr std::uint64_t kMaxId = (std::uint64_t{1} << 53) - 1;

// All of `text`, without sign or blank.
template <typename Integer>
std::optional<Integer> wholeNumber(std::string_view text) {
  Integer value = 0;
  const auto [stopped, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc() || stopped != text.data() + text.size()) return std::nullopt;
  return value;
}

class RefParser {
 public:
  explicit RefParser(const std::function<std::uint64_t()>& newest) : newest_(newest) {}

  void take(std::string_view item) {
    if (item == "last") {
      add({newest(), 0});
      return;
    }
    const std::size_t dash = item.find('-');
    const std::size_t dot = item.find('.');
    if (dash != std::string_view::npos) {
      takeRange(item, item.substr(0, dash), item.substr(dash + 1));
    } else if (dot != std::string_view::npos) {
      const auto index = wholeNumber<std::uint32_t>(item.substr(dot + 1));
      if (!index || *index == 0) reject(item);
      add({batchOf(item, item.substr(0, dot)), *index});
    } else {
      add({idOf(item, item), 0});
    }
  }

  // Each once, in the order written.
  std::vector<TaskRef> refs() && {
    std::vector<std::size_t> order(refs_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto key = [this](std::size_t i) { return std::pair(refs_[i].id, refs_[i].index); };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return key(a) < key(b); });
    order.erase(std::unique(order.begin(), order.end(), [&](auto a, auto b) { return refs_[a] == refs_[b]; }),
                order.end());
    std::sort(order.begin(), order.end());
    std::vector<TaskRef> unique;
    unique.reserve(order.size());
    for (const std::size_t i : order) unique.push_back(refs_[i]);
    return unique;
  }

 private:
  [[noreturn]] static void reject(std::string_view item) {
    throw Error(Code::usage, "`" + std::string(item) +
                                 "` is no id; expected 12, 12.3 (third task of batch 12), " +
                                 "5-9, 1,4,7-9 or last");
  }
  std::uint64_t newest() {
    if (!known_) known_ = newest_();
    return *known_;
  }
  std::uint64_t batchOf(std::string_view item, std::string_view text) {
    return text == "last" ? newest() : idOf(item, text);
  }
  static std::uint64_t idOf(std::string_view item, std::string_view text) {
    const auto id = wholeNumber<std::uint64_t>(text);
    if (!id || *id == 0 || *id > kMaxId) reject(item);
    return *id;
  }
  // `5-9`, and `12.3-7` for tasks of one batch.
  void takeRange(std::string_view item, std::string_view from, std::string_view to) {
    const std::size_t dot = from.find('.');
    if (dot == std::string_view::npos) {
      addRange(item, idOf(item, from), idOf(item, to), [](std::uint64_t id) { return TaskRef{id, 0}; });
      return;
    }
    const std::uint64_t batch = batchOf(item, from.substr(0, dot));
    const auto first = wholeNumber<std::uint32_t>(from.substr(dot + 1));
    const auto last = wholeNumber<std::uint32_t>(to);
    if (!first || !last || *first == 0) reject(item);
    addRange(item, *first, *last, [batch](std::uint64_t index) {
      return TaskRef{batch, static_cast<std::uint32_t>(index)};
    });
  }
  void addRange(std::string_view item, std::uint64_t first, std::uint64_t last, auto&& make) {
    if (first > last) reject(item);
    if (last - first >= kMaxRefs) tooMany();
    for (std::uint64_t i = first; i <= last; ++i) add(make(i));
  }
  void add(TaskRef ref) {
    if (refs_.size() >= kMaxRefs) tooMany();
    refs_.push_back(ref);
  }
  [[noreturn]] static void tooMany() {
    throw Error(Code::usage, "more than " + std::to_string(kMaxRefs) + " ids at once");
  }

  const std::function<std::uint64_t()>& newest_;
  std::optional<std::uint64_t> known_;
  std::vector<TaskRef> refs_;
};

bool anyAfter(ipc::Client& client, std::uint64_t batch, std::uint64_t id) {
  ipc::Message request;
  auto list = request.frame().initList();
  list.setBatch(batch);
  list.setAfter(id);
  list.setLimit(1);
  const auto reply = client.call(request);
  return reply.get().getListing().getRows().size() > 0;
}

}  // namespace

std::uint64_t newest(ipc::Client& client, std::uint64_t batch) {
  if (!anyAfter(client, batch, 0)) return 0;
  std::uint64_t with = 0;  // something comes after it
  std::uint64_t without = 1;
  while (anyAfter(client, batch, without)) {
    with = without;
    without *= 2;
  }
  while (without - with > 1) {
    const std::uint64_t middle = with + (without - with) / 2;
    (anyAfter(client, batch, middle) ? with : without) = middle;
  }
  return without;
}

std::string toString(const TaskRef& ref) {
  return ref.index == 0 ? std::to_string(ref.id) : std::to_string(ref.id) + "." + std::to_string(ref.index);
}

std::vector<TaskRef> parseRefs(std::span<const std::string> words,
                               const std::function<std::uint64_t()>& newest) {
  RefParser parser(newest);
  for (const std::string& word : words) {
    std::string_view rest = word;
    while (true) {
      const std::size_t comma = rest.find(',');
      parser.take(rest.substr(0, comma));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return std::move(parser).refs();
}

std::vector<TaskRef> parseRefs(std::span<const std::string> words, ipc::Client& client) {
  return parseRefs(words, [&client] {
    const std::uint64_t id = newest(client, 0);
    if (id == 0) throw Error(Code::unknownId, "last: there is no task");
    return id;
  });
}

void writeRefs(std::span<const TaskRef> refs, capnp::List<ipc::wire::TaskRef>::Builder list) {
  for (unsigned i = 0; i < refs.size(); ++i) {
    list[i].setId(refs[i].id);
    list[i].setIndex(refs[i].index);
  }
}

void writeSelection(std::span<const TaskRef> refs, ipc::wire::Selection::Builder selection) {
  writeRefs(refs, selection.initRefs(static_cast<unsigned>(refs.size())));
}

}  // namespace baton::ctl
