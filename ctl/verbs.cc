#include "ctl/verbs.h"

namespace baton::ctl {
namespace {

constexpr Verb kVerbs[] = {
    {"run", "run a command on a slot and wait for it", runVerb, VerbGroup::start},
    {"submit", "leave a command to run later, print its id", submitVerb, VerbGroup::start},
    {"map", "run a command for each argument or line", mapVerb, VerbGroup::start},

    {"list", "the tasks there are (also what batonctl alone does)", listVerb, VerbGroup::look},
    {"show", "all there is to know of a task", showVerb, VerbGroup::look},
    {"explain", "why a task waits", explainVerb, VerbGroup::look},
    {"logs", "what a submitted task has printed", logsVerb, VerbGroup::look},
    {"wait", "wait until tasks have ended", waitVerb, VerbGroup::look},
    {"events", "what happens, as it happens", eventsVerb, VerbGroup::look},

    {"cancel", "end tasks: TERM, after a while KILL", cancelVerb, VerbGroup::change},
    {"kill", "send a task one signal", killVerb, VerbGroup::change},
    {"retry", "run ended tasks once more, as new ones", retryVerb, VerbGroup::change},
    {"hold", "keep queued tasks from starting", holdVerb, VerbGroup::change},
    {"release", "let held tasks start", releaseVerb, VerbGroup::change},

    {"lock", "named locks: run a command under one, see who holds it", lockVerb, VerbGroup::objects},
    {"sem", "run a command while holding one of N permits", semVerb, VerbGroup::objects},
    {"queue", "named queues of messages between programs", queueVerb, VerbGroup::objects},

    {"worker", "list or replace the worker processes", workerVerb, VerbGroup::daemon},
    {"status", "slots, load, memory and health of the daemon", statusVerb, VerbGroup::daemon},
    {"ping", "ask whether the daemon answers", pingVerb, VerbGroup::daemon},
    {"drain", "take no new work", drainVerb, VerbGroup::daemon},
    {"resume", "take new work again", resumeVerb, VerbGroup::daemon},
    {"stop", "end the daemon", stopVerb, VerbGroup::daemon},
    {"reload", "read the configuration again", reloadVerb, VerbGroup::daemon},
    {"config", "the configuration in force", configVerb, VerbGroup::daemon},
    {"version", "versions of batonctl and of the daemon", versionVerb, VerbGroup::daemon},
};

}  // namespace

std::span<const Verb> verbs() {
  return kVerbs;
}

const Verb* findVerb(std::string_view name) {
  for (const Verb& verb : kVerbs) {
    if (name == verb.name) return &verb;
  }
  return nullptr;
}

}  // namespace baton::ctl
