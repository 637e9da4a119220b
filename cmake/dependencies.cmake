# Everything comes from Debian's packages; docs/architecture.md says why each is here.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED)
pkg_check_modules(LIBSYSTEMD REQUIRED IMPORTED_TARGET libsystemd>=250)

find_program(CAPNP_COMPILER capnp REQUIRED)
find_path(CAPNP_INCLUDE capnp/message.h REQUIRED)
find_library(CAPNP_STATIC NAMES libcapnp.a REQUIRED)
find_library(KJ_STATIC NAMES libkj.a REQUIRED)
add_library(baton_capnp INTERFACE)
target_include_directories(baton_capnp SYSTEM INTERFACE ${CAPNP_INCLUDE})
target_link_libraries(baton_capnp INTERFACE ${CAPNP_STATIC} ${KJ_STATIC} Threads::Threads)

# fmt, CLI11, nlohmann-json and toml11 are used header-only: nothing of them is loaded at start-up.
add_library(baton_fmt INTERFACE)
target_compile_definitions(baton_fmt INTERFACE FMT_HEADER_ONLY=1)

# libc6-dev has it; where there is none, or a sanitizer wants the shared one, programs are linked as usual.
find_library(LIBC_STATIC NAMES libc.a)
set(BATON_STATIC_LIBC OFF)
if(LIBC_STATIC AND NOT BATON_SANITIZE)
  set(BATON_STATIC_LIBC ON)
endif()
