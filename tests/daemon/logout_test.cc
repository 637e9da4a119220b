#include "daemon/logout.h"

#include <gtest/gtest.h>

namespace baton::daemon {
namespace {

constexpr const char* kUnit = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/batond.service\n";
constexpr const char* kTerminal =
    "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n";
constexpr const char* kSession = "0::/user.slice/user-1000.slice/session-3.scope\n";
constexpr const char* kSessionOnV1 = "2:cpu:/\n1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n";
constexpr const char* kKills = "[Login]\n#KillUserProcesses=no\nKillUserProcesses=yes\n";

TEST(LogoutNotice, aUserManagerEndsItsUnitsUnlessItsUserLingers) {
  for (const char* cgroups : {kUnit, kTerminal}) {
    EXPECT_NE(logoutNotice({.cgroups = cgroups}).find("loginctl enable-linger"), std::string::npos);
    EXPECT_EQ(logoutNotice({.cgroups = cgroups, .lingers = true}), "");
  }
}

TEST(LogoutNotice, aSessionLeavesItsProcessesAloneUnlessLogindIsToldToKillThem) {
  for (const char* cgroups : {kSession, kSessionOnV1}) {
    EXPECT_EQ(logoutNotice({.cgroups = cgroups}), "");
    EXPECT_EQ(logoutNotice({.cgroups = cgroups, .logindConf = "#KillUserProcesses=yes\n"}), "");
    const LogoutFacts killed{.cgroups = cgroups, .lingers = true, .logindConf = kKills};
    EXPECT_NE(logoutNotice(killed).find("KillUserProcesses"), std::string::npos);
  }
}

TEST(LogoutNotice, aLaterDropInWins) {
  const std::string conf = std::string(kKills) + "\n[Login]\nKillUserProcesses=no\n";
  EXPECT_EQ(logoutNotice({.cgroups = kSession, .logindConf = conf}), "");
}

TEST(LogoutNotice, rootsSessionsAreSpared) {
  EXPECT_EQ(logoutNotice({.cgroups = kSession, .isRoot = true, .logindConf = kKills}), "");
}

TEST(LogoutNotice, nothingIsSaidOutsideOfAnyLogin) {
  for (const char* cgroups : {"0::/\n", "0::/system.slice/cron.service\n", "", "0::/docker/1234\n"}) {
    EXPECT_EQ(logoutNotice({.cgroups = cgroups, .logindConf = kKills}), "") << cgroups;
  }
}

}  // namespace
}  // namespace baton::daemon
