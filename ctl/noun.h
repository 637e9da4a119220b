// Verbs of a noun: `batonctl queue put`. Each is a verb of its own with its own --help.
#pragma once

#include <span>

namespace baton::ctl {

struct NounVerb {
  const char* name;
  const char* summary;  // one line, no full stop
  // As Verb::function; argv[0] is the verb.
  int (*function)(int argc, char** argv);
};

struct Noun {
  const char* name;
  const char* description;          // what --help opens with
  const char* footer;               // examples
  std::span<const NounVerb> verbs;  // the first is what the noun alone does
};

// Calls the verb in argv, or prints the noun's help. Throws Error(usage) for an unknown one.
int callNoun(const Noun& noun, int argc, char** argv);

}  // namespace baton::ctl
