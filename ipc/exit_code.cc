#include "ipc/exit_code.h"

namespace baton::ipc {

using wire::Cause;

int exitCodeOf(const TaskEnd& end) {
  switch (end.cause) {
    case Cause::NONE:
      return end.state == wire::State::SUCCEEDED ? 0 : kExitBaton;
    case Cause::EXITED:
      return end.exitCode;
    case Cause::SIGNALLED:
      return kExitSignalBase + end.signal;
    case Cause::OOM:
      return kExitOom;
    case Cause::TIME_LIMIT:
    case Cause::QUEUE_LIMIT:
      return kExitTimedOut;
    case Cause::CANCELLED:
    case Cause::CLIENT_GONE:
      return kExitCancelled;
    case Cause::NOT_FOUND:
      return kExitNotFound;
    case Cause::NOT_EXECUTABLE:
      return kExitNotExecutable;
    case Cause::WORKER_LOST:
    case Cause::SURROUNDINGS:
    case Cause::UNKILLABLE:
    case Cause::DAEMON_STOPPED:
      return kExitBaton;
  }
  return kExitBaton;  // of a later version
}

}  // namespace baton::ipc
