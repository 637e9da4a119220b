#include "shm/fork_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace baton::shm {
namespace {

using Word = std::atomic<std::uint64_t>;

// Inherited by children, unlike the page.
constinit std::atomic<std::uint64_t> lastWord{0};

// One page for the life of the process, as every object of the library may be the last to look at it.
Word* wipedPage() {
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "cannot map a page");
  if (::madvise(page, size, MADV_WIPEONFORK) < 0) {
    const int error = errno;
    ::munmap(page, size);
    throw std::system_error(error, std::generic_category(), "the kernel cannot wipe a page at fork");
  }
  return new (page) Word(0);
}

Word& word() {
  static Word* const page = wipedPage();
  return *page;
}

}  // namespace

const ForkGuard::Word* ForkGuard::processWord() {
  return &word();
}

std::uint64_t ForkGuard::current(const Word& seen) {
  std::uint64_t value = seen.load(std::memory_order_relaxed);
  if (value != 0) return value;
  const std::uint64_t mine = lastWord.fetch_add(1, std::memory_order_relaxed) + 1;
  return word().compare_exchange_strong(value, mine, std::memory_order_relaxed) ? mine : value;
}

}  // namespace baton::shm
