#include "ctl/map/sources.h"

#include <algorithm>

namespace baton::ctl::map {
namespace {

bool isSeparator(const std::string& word) {
  return word == ":::" || word == ":::+" || word == "::::" || word == "::::+";
}

Source fileSource(const std::string& path) {
  Source source;
  source.isFile = true;
  source.path = path;
  return source;
}

}  // namespace

CommandLine splitCommandLine(const std::vector<std::string>& words, const std::vector<std::string>& files) {
  CommandLine line;
  for (const std::string& file : files) line.sources.push_back(fileSource(file));

  auto word = std::find_if(words.begin(), words.end(), isSeparator);
  line.command.assign(words.begin(), word);
  const std::size_t firstGroup = line.sources.size();
  std::size_t groups = 0;
  while (word != words.end()) {
    const bool isFile = word->starts_with("::::");
    const bool linked = word->ends_with('+') && line.sources.size() > firstGroup;
    const auto end = std::find_if(word + 1, words.end(), isSeparator);
    if (isFile) {
      for (auto path = word + 1; path != end; ++path) {
        line.sources.push_back(fileSource(*path));
        line.sources.back().linked = linked;
      }
    } else {
      Source source;
      source.values.assign(word + 1, end);
      source.linked = linked;
      line.sources.push_back(std::move(source));
    }
    ++groups;
    word = end;
  }
  const bool loneEmptyGroup = groups == 1 && line.sources.size() > firstGroup &&
                              !line.sources.back().isFile && line.sources.back().values.empty();
  if (loneEmptyGroup) line.sources.pop_back();
  if (line.sources.empty()) line.sources.push_back(fileSource("-"));
  return line;
}

}  // namespace baton::ctl::map
