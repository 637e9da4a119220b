# Flags of every target of ours, and the helper that makes them.

add_library(baton_flags INTERFACE)
target_compile_options(baton_flags INTERFACE -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # It warns of its own std::string (GCC bug 105651); the second is for clang-tidy, which does not know the first.
  target_compile_options(baton_flags INTERFACE -Wno-restrict -Wno-unknown-warning-option)
endif()
target_include_directories(baton_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(baton_flags INTERFACE BATON_VERSION="${PROJECT_VERSION}")
if(BATON_SANITIZE)
  # Without the second, undefined behaviour is one line on stderr and the test passes.
  target_compile_options(baton_flags INTERFACE -fsanitize=${BATON_SANITIZE} -fno-sanitize-recover=all
                                               -fno-omit-frame-pointer)
  target_link_options(baton_flags INTERFACE -fsanitize=${BATON_SANITIZE})
  target_compile_definitions(baton_flags INTERFACE BATON_SANITIZED=1)
else()
  # Start-up decides for a tool that lives a millisecond: no symbol of libstdc++ is looked up at run time.
  target_link_options(baton_flags INTERFACE -static-libstdc++ -static-libgcc)
endif()
if(BATON_FUZZ)
  target_compile_options(baton_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# One static library per folder: baton_library(NAME LIBRARIES...), from every source of the folder but main.cc.
function(baton_library name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/*/*.cc)
  list(FILTER sources EXCLUDE REGEX "_main\\.cc$|/main\\.cc$")
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC baton_flags ${ARGN})
endfunction()
