#include "ctl/batch_tasks.h"

namespace baton::ctl {
namespace {

bool isBatch(ipc::Client& client, const TaskRef& ref) {
  if (ref.index != 0) return false;
  ipc::Message request;
  auto list = request.frame().initList();
  list.setAfter(ref.id - 1);
  list.setLimit(1);
  const auto reply = client.call(request);
  const auto rows = reply.get().getListing().getRows();
  return rows.size() == 1 && rows[0].isBatch() && rows[0].getBatch().getId() == ref.id;
}

}  // namespace

bool forEachTask(ipc::Client& client, const TaskRef& ref,
                 const std::function<void(ipc::wire::TaskRow::Reader)>& visit) {
  if (!isBatch(client, ref)) return false;
  std::uint64_t after = 0;
  do {
    ipc::Message request;
    auto list = request.frame().initList();
    list.setBatch(ref.id);
    list.setAfter(after);
    const auto reply = client.call(request);
    const auto listing = reply.get().getListing();
    for (const auto row : listing.getRows()) visit(row.getTask());
    after = listing.getNext();
  } while (after != 0);
  return true;
}

}  // namespace baton::ctl
