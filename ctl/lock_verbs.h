// The verbs behind `batonctl lock`: argv[0] is the verb's last word.
#pragma once

namespace baton::ctl {

// `semaphore`: as `sem run`.
int lockRun(int argc, char** argv, bool semaphore);
int lockList(int argc, char** argv);
int lockShow(int argc, char** argv);

}  // namespace baton::ctl
