#include "ipc/error.h"

#include <cerrno>
#include <cstring>

namespace baton {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "baton"; }
  std::string message(int value) const override {
    switch (static_cast<Code>(value)) {
      case Code::ok:
        return "success";
      case Code::usage:
        return "wrong use";
      case Code::noDaemon:
        return "no daemon";
      case Code::version:
        return "other protocol version";
      case Code::protocol:
        return "protocol violation";
      case Code::refused:
        return "refused";
      case Code::unknownId:
        return "unknown id";
      case Code::quota:
        return "limit reached";
      case Code::tooLarge:
        return "too large";
      case Code::tooDeep:
        return "nested too deep";
      case Code::timedOut:
        return "timed out";
      case Code::disconnected:
        return "disconnected";
      case Code::system:
        return "system error";
      case Code::unknownName:
        return "unknown name";
      case Code::wrongKind:
        return "another kind of object";
      case Code::exists:
        return "exists already";
      case Code::busy:
        return "busy";
      case Code::deadlock:
        return "deadlock";
      case Code::abandoned:
        return "abandoned";
      case Code::notHeld:
        return "not held";
      case Code::broken:
        return "broken";
      case Code::full:
        return "full";
      case Code::closed:
        return "closed";
      case Code::removed:
        return "removed";
      case Code::cancelled:
        return "cancelled";
    }
    return "refused (code " + std::to_string(value) + ")";
  }
};

}  // namespace

const std::error_category& errorCategory() {
  static const Category category;
  return category;
}

std::error_code make_error_code(Code code) {
  return {static_cast<int>(code), errorCategory()};
}

void throwErrno(const std::string& what) {
  throw Error(Code::system, what + ": " + std::strerror(errno));
}

}  // namespace baton
