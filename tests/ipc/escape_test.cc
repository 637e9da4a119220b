#include "ipc/escape.h"

#include <gtest/gtest.h>
#include <locale.h>
#include <stdio.h>
#include <unistd.h>
#include <wchar.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>

namespace baton::ipc {
namespace {

std::string utf8(char32_t code) {
  std::string out;
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
  return out;
}

// Judged by the C library, not by the code under test.
class Judge {
 public:
  Judge() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)), before_(uselocale(locale_)) {}
  ~Judge() {
    uselocale(before_);
    freelocale(locale_);
  }
  Judge(const Judge&) = delete;
  Judge& operator=(const Judge&) = delete;

  bool harmless(const std::string& text) const {
    mbstate_t state{};
    const char* rest = text.data();
    const char* end = text.data() + text.size();
    while (rest < end) {
      wchar_t wide = 0;
      const std::size_t length = mbrtowc(&wide, rest, static_cast<std::size_t>(end - rest), &state);
      if (length == 0 || length > 4) return false;
      if (wide < 0x20 || (wide >= 0x7f && wide < 0xa0)) return false;
      if ((wide >= 0x2028 && wide <= 0x202e) || (wide >= 0x2066 && wide <= 0x2069)) return false;
      if (wide == 0x200e || wide == 0x200f || wide == 0x061c) return false;
      rest += length;
    }
    return true;
  }

 private:
  locale_t locale_;
  locale_t before_;
};

std::string randomBytes(std::mt19937_64& random) {
  static const std::vector<std::string> kPieces = {"\x1b[31m",
                                                   "\xe2\x80\xae",
                                                   "\xc2\x9b",
                                                   "a",
                                                   "ü",
                                                   "\\",
                                                   "'",
                                                   "\n",
                                                   "\xf0\x9f\x98\x80",
                                                   " ",
                                                   "$",
                                                   "\xed\xa0\x80",
                                                   "\xc0\x80",
                                                   "\xf4\x90\x80\x80",
                                                   "0",
                                                   "f",
                                                   "!",
                                                   "=",
                                                   "~"};
  std::string text;
  for (std::uint64_t n = random() % 12; n > 0; --n) {
    if (random() % 2 == 0) {
      text += static_cast<char>(random());
    } else {
      text += kPieces[random() % kPieces.size()];
    }
  }
  return text;
}

TEST(Escape, leavesPlainTextAlone) {
  for (const char* text : {"", "hello world", "C:\\dir \\n", "naïve 日本語 😀", "a'b\"c$d`e", "👩‍💻"}) {
    EXPECT_EQ(escape(text), text);
  }
}

TEST(Escape, showsWhatATerminalWouldObey) {
  EXPECT_EQ(escape("a\nb\tc\rd"), "a\\nb\\tc\\rd");
  EXPECT_EQ(escape("\x1b]0;owned\a"), "\\x1b]0;owned\\x07");
  EXPECT_EQ(escape(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(escape("\x7f"), "\\x7f");
  EXPECT_EQ(escape("\xc2\x9b"
                   "31m"),
            "\\u009b31m");
  EXPECT_EQ(escape("\x9b"
                   "31m"),
            "\\x9b31m");
  EXPECT_EQ(escape("x\xe2\x80\xaegpj.exe"), "x\\u202egpj.exe");
  EXPECT_EQ(escape("\xe2\x80\xa8\xe2\x80\xa9"), "\\u2028\\u2029");
  EXPECT_EQ(escape("\xf3\xa0\x81\x81"), "\\U000e0041");
}

TEST(Escape, showsBytesThatAreNoUtf8) {
  EXPECT_EQ(escape("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(escape("\xc3"), "\\xc3");
  EXPECT_EQ(escape("\xc0\x80"), "\\xc0\\x80");
  EXPECT_EQ(escape("\xe0\x80\x8a"), "\\xe0\\x80\\x8a");
  EXPECT_EQ(escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(escape("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(escape("\xe2\x82z"), "\\xe2\\x82z");
}

TEST(Escape, everyPairOfBytesIsHarmlessAndEscapingTwiceIsOnce) {
  const Judge judge;
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text{static_cast<char>(first), static_cast<char>(second)};
      const std::string shown = escape(text);
      ASSERT_TRUE(judge.harmless(shown)) << first << ' ' << second;
      ASSERT_EQ(escape(shown), shown);
    }
  }
}

TEST(Escape, everyCharacterIsHarmlessAndPrintableOnesStay) {
  const Judge judge;
  std::size_t changed = 0;
  for (char32_t code = 0; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const std::string text = utf8(code);
    const std::string shown = escape(text);
    ASSERT_TRUE(judge.harmless(shown)) << std::hex << static_cast<unsigned>(code);
    if (shown != text) ++changed;
  }
  // 33 of ASCII, 32 C1, 3 marks, 7 of lines and embeddings, 16 invisible, byte order mark, 3 annotations, 32
  // noncharacters, 4096 tags.
  EXPECT_EQ(changed, 33 + 32 + 3 + 7 + 16 + 1 + 3 + 32 + 4096);
}

TEST(Escape, randomBytesAreHarmless) {
  const Judge judge;
  std::mt19937_64 random(2);
  for (int i = 0; i < 50'000; ++i) {
    const std::string text = randomBytes(random);
    ASSERT_TRUE(judge.harmless(escape(text)));
    ASSERT_TRUE(judge.harmless(shellQuote(text)));
  }
}

TEST(ShellQuote, quotesOnlyWhatNeedsIt) {
  EXPECT_EQ(shellQuote("plain-Word_1.txt"), "plain-Word_1.txt");
  EXPECT_EQ(shellQuote("a=b"), "a=b");
  EXPECT_EQ(shellQuote("100%"), "100%");
  EXPECT_EQ(shellQuote("über/日本"), "über/日本");
  EXPECT_EQ(shellQuote(""), "''");
  EXPECT_EQ(shellQuote("a b"), "'a b'");
  EXPECT_EQ(shellQuote("it's"), "'it'\\''s'");
  EXPECT_EQ(shellQuote("$HOME"), "'$HOME'");
  EXPECT_EQ(shellQuote("=ls"), "'=ls'");
  EXPECT_EQ(shellQuote("~"), "'~'");
  EXPECT_EQ(shellQuote("a\xc2\xa0"
                       "b"),
            "'a\xc2\xa0"
            "b'");
  EXPECT_EQ(shellQuote("a\nb"), "$'a\\nb'");
  EXPECT_EQ(shellQuote("it's\x1b\\"), "$'it\\'s\\x1b\\\\'");
  EXPECT_EQ(shellQuote("\xe2\x80\xae"), "$'\\xe2\\x80\\xae'");
}

TEST(ShellQuote, joinsACommandLine) {
  const std::vector<std::string> argv{"sh", "-c", "a | b", "", "x=1"};
  EXPECT_EQ(joinArgv(argv), "sh -c 'a | b' '' x=1");
  const std::vector<std::string> assignment{"x=1", "y"};
  EXPECT_EQ(joinArgv(assignment), "'x=1' y");
  EXPECT_EQ(joinArgv({}), "");
}

// What bash reads back from `words` quoted, in this locale.
std::vector<std::string> throughBash(const std::vector<std::string>& words, const std::string& locale) {
  std::string path = ::testing::TempDir() + "quoteXXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) return {};
  close(fd);
  std::ofstream script(path);
  for (const std::string& word : words) script << "printf '%s\\0' " << shellQuote(word) << '\n';
  script.close();
  const std::string command = "LC_ALL=" + locale + " bash --norc " + path;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::vector<std::string> read;
  std::string word;
  for (int c = 0; (c = getc(pipe.get())) != EOF;) {
    if (c != 0) {
      word += static_cast<char>(c);
    } else {
      read.push_back(std::exchange(word, {}));
    }
  }
  unlink(path.c_str());
  return read;
}

TEST(ShellQuote, bashReadsTheSameBytesBackInAnyLocale) {
  if (access("/bin/bash", X_OK) != 0) GTEST_SKIP() << "no /bin/bash";
  std::vector<std::string> words;
  for (int byte = 1; byte < 256; ++byte) {
    words.push_back({static_cast<char>(byte)});
    words.push_back({static_cast<char>(byte), 'a', '0', static_cast<char>(byte)});
  }
  std::mt19937_64 random(3);
  while (words.size() < 5'000) {
    std::string text = randomBytes(random);
    std::erase(text, '\0');
    words.push_back(text);
  }
  EXPECT_EQ(throughBash(words, "C"), words);
  EXPECT_EQ(throughBash(words, "C.UTF-8"), words);
}

TEST(Nearest, findsWhatWasMeant) {
  const std::vector<std::string_view> verbs{"run",   "submit",   "list",     "cancel",
                                            "slots", "io_tasks", "log_total"};
  EXPECT_EQ(nearest("sumbit", verbs), "submit");
  EXPECT_EQ(nearest("submitt", verbs), "submit");
  EXPECT_EQ(nearest("slot", verbs), "slots");
  EXPECT_EQ(nearest("io-tasks", verbs), "io_tasks");
  EXPECT_EQ(nearest("lsit", verbs), "list");
  EXPECT_EQ(nearest("rnu", verbs), "run");
  EXPECT_EQ(nearest("list", verbs), "list");
  EXPECT_EQ(nearest("frobnicate", verbs), std::nullopt);
  EXPECT_EQ(nearest("", verbs), std::nullopt);
  EXPECT_EQ(nearest("x", verbs), std::nullopt);
  EXPECT_EQ(nearest(std::string(1'000'000, 'a'), verbs), std::nullopt);
  EXPECT_EQ(nearest("run", {}), std::nullopt);
}

}  // namespace
}  // namespace baton::ipc
