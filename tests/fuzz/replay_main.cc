// A fuzz target without libFuzzer: every file of the corpus as it is, then seeded mutations of them.
//
//   TARGET RUNS SECONDS CORPUS    stops at the first of both bounds; BATON_SEED chooses other mutations
//   TARGET FILE                   one input; a failed one is left in the current directory as crash-input
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/target.h"

namespace {

using Input = std::vector<std::uint8_t>;
constexpr std::size_t kMaxInput = 16384;

// What is tried now, for the signal handler.
const Input* current = nullptr;

Input load(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void keepInput(int) {
  const int fd = ::open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  [[maybe_unused]] const ssize_t wrote =
      current == nullptr ? 0 : ::write(fd, current->data(), current->size());
  ::_exit(1);
}

class Mutator {
 public:
  Mutator(const std::vector<Input>& corpus, std::uint64_t seed) : corpus_(corpus), random_(seed) {}

  Input next() {
    Input input = corpus_[below(corpus_.size())];
    for (std::size_t changes = 1 + below(4); changes > 0; --changes) change(input);
    if (input.size() > kMaxInput) input.resize(kMaxInput);
    return input;
  }

 private:
  std::size_t below(std::size_t end) { return end == 0 ? 0 : random_() % end; }

  void change(Input& input) {
    constexpr std::uint8_t kValues[] = {0, 1, 2, 3, 4, 0x7f, 0x80, 0xfc, 0xfe, 0xff};
    const std::size_t at = below(input.size());
    switch (input.empty() ? 3 : below(7)) {
      case 0:
        input[at] = static_cast<std::uint8_t>(random_());
        break;
      case 1:
        input[at] = kValues[below(std::size(kValues))];
        break;
      case 2:
        input[at] ^= static_cast<std::uint8_t>(1U << below(8));
        break;
      case 3:
        input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), 1 + below(16),
                     kValues[below(std::size(kValues))]);
        break;
      case 4: {
        const std::size_t size = 1 + below(std::min<std::size_t>(32, input.size() - at));
        input.erase(input.begin() + static_cast<std::ptrdiff_t>(at),
                    input.begin() + static_cast<std::ptrdiff_t>(at + size));
        break;
      }
      case 5: {
        const Input& other = corpus_[below(corpus_.size())];
        const std::size_t from = below(other.size());
        const std::size_t size = std::min({below(64), other.size() - from, input.size() - at});
        std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from), size,
                    input.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      }
      default: {
        const Input& other = corpus_[below(corpus_.size())];
        input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())),
                     other.end());
        break;
      }
    }
  }

  const std::vector<Input>& corpus_;
  std::mt19937_64 random_;
};

void tryInput(const Input& input) {
  current = &input;
  fuzzOne(input);
}

int replay(std::uint64_t runs, double seconds, const char* directory) {
  std::vector<Input> corpus;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    corpus.push_back(load(entry.path()));
  std::sort(corpus.begin(), corpus.end());
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus in %s\n", directory);
    return 1;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto taken = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  for (const Input& input : corpus) tryInput(input);
  const char* seed = std::getenv("BATON_SEED");
  Mutator mutator(corpus, seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10));
  std::uint64_t done = corpus.size();
  for (; done < runs && taken() < seconds; ++done) tryInput(mutator.next());
  std::printf("%llu inputs, %zu of them kept ones, in %.1f s\n", static_cast<unsigned long long>(done),
              corpus.size(), taken());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, keepInput);
  if (argc == 2) {
    tryInput(load(argv[1]));
    return 0;
  }
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s RUNS SECONDS CORPUS | FILE\n", argv[0]);
    return 2;
  }
  return replay(std::strtoull(argv[1], nullptr, 10), std::strtod(argv[2], nullptr), argv[3]);
}
