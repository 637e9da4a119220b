// The table of batonctl's verbs. Nothing of a verb is built before it is called: start-up decides how quick
// `batonctl run` is.
#pragma once

#include <span>
#include <string_view>

namespace baton::ctl {

enum class VerbGroup { start, look, change, objects, daemon };

struct Verb {
  const char* name;
  const char* summary;  // one line, no full stop
  // argv[0] is the verb; options that stood before it follow at once. Returns the exit code. Throws
  // baton::Error, which main prints (125).
  int (*function)(int argc, char** argv);
  VerbGroup group;
};

std::span<const Verb> verbs();
// nullptr: no such verb.
const Verb* findVerb(std::string_view name);

int runVerb(int argc, char** argv);
int submitVerb(int argc, char** argv);
int mapVerb(int argc, char** argv);

int listVerb(int argc, char** argv);
int showVerb(int argc, char** argv);
int explainVerb(int argc, char** argv);
int logsVerb(int argc, char** argv);
int waitVerb(int argc, char** argv);
int eventsVerb(int argc, char** argv);

int cancelVerb(int argc, char** argv);
int killVerb(int argc, char** argv);
int retryVerb(int argc, char** argv);
int holdVerb(int argc, char** argv);
int releaseVerb(int argc, char** argv);

int lockVerb(int argc, char** argv);
int queueVerb(int argc, char** argv);
int semVerb(int argc, char** argv);

int workerVerb(int argc, char** argv);
int statusVerb(int argc, char** argv);
int pingVerb(int argc, char** argv);
int drainVerb(int argc, char** argv);
int resumeVerb(int argc, char** argv);
int stopVerb(int argc, char** argv);
int reloadVerb(int argc, char** argv);
int configVerb(int argc, char** argv);
int versionVerb(int argc, char** argv);

}  // namespace baton::ctl
