// In every program that is built with a sanitizer: what is found there goes into a file, as the daemon and
// its workers have no stderr that a test sees, and a worker no environment that could say so. The test
// `sanitizer.reports` fails if there is one. What ASAN_OPTIONS and its like say still counts. Only gcc's
// UBSan, where it comes beside ASan, writes to stderr all the same: it ends the program, and so the test.
// Core dumps stay as they are: the limit is among what a task inherits from its submitter.
namespace {

constexpr char kOptions[] = "log_path=" BATON_SANITIZER_LOG ":log_exe_name=1:disable_coredump=0";

}  // namespace

extern "C" {

const char* __asan_default_options() {
  return kOptions;
}
const char* __ubsan_default_options() {
  return kOptions;
}
const char* __tsan_default_options() {
  return kOptions;
}
}
