#include "daemon/task_order.h"

namespace baton::daemon {
namespace {

// The heap order of the treap. Ids are counters, so they are mixed (splitmix64) to be as good as random.
std::uint64_t height(const QueueEntry& entry) {
  std::uint64_t x = entry.id + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::uint32_t countOf(const QueueEntry* tree) {
  return tree == nullptr ? 0 : tree->count;
}

void recount(QueueEntry& tree) {
  tree.count = 1 + countOf(tree.left) + countOf(tree.right);
}

// Parts `tree` into what starts before `entry` and what starts after it.
void split(QueueEntry* tree, const QueueEntry& entry, QueueEntry*& before, QueueEntry*& after) {
  if (tree == nullptr) {
    before = after = nullptr;
    return;
  }
  if (tree->before(entry)) {
    split(tree->right, entry, tree->right, after);
    before = tree;
  } else {
    split(tree->left, entry, before, tree->left);
    after = tree;
  }
  recount(*tree);
}

// Everything in `before` starts before everything in `after`.
QueueEntry* merge(QueueEntry* before, QueueEntry* after) {
  if (before == nullptr) return after;
  if (after == nullptr) return before;
  QueueEntry* top = height(*before) > height(*after) ? before : after;
  if (top == before) {
    before->right = merge(before->right, after);
  } else {
    after->left = merge(before, after->left);
  }
  recount(*top);
  return top;
}

QueueEntry* leftmost(QueueEntry* tree) {
  while (tree != nullptr && tree->left != nullptr) tree = tree->left;
  return tree;
}

}  // namespace

void TaskOrder::insert(QueueEntry& entry) {
  QueueEntry** link = &root_;
  while (*link != nullptr && height(**link) > height(entry)) {
    ++(*link)->count;
    link = (*link)->before(entry) ? &(*link)->right : &(*link)->left;
  }
  QueueEntry* below = *link;
  split(below, entry, entry.left, entry.right);
  recount(entry);
  *link = &entry;
  if (first_ == nullptr || entry.before(*first_)) first_ = &entry;
}

void TaskOrder::erase(QueueEntry& entry) {
  QueueEntry** link = &root_;
  while (*link != &entry) {
    --(*link)->count;
    link = (*link)->before(entry) ? &(*link)->right : &(*link)->left;
  }
  *link = merge(entry.left, entry.right);
  entry.left = entry.right = nullptr;
  entry.count = 1;
  if (first_ == &entry) first_ = leftmost(root_);
}

std::size_t TaskOrder::ahead(const QueueEntry& entry) const {
  std::size_t ahead = 0;
  for (const QueueEntry* at = root_; at != &entry;) {
    if (at->before(entry)) {
      ahead += countOf(at->left) + 1;
      at = at->right;
    } else {
      at = at->left;
    }
  }
  return ahead + countOf(entry.left);
}

}  // namespace baton::daemon
