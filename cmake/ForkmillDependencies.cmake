# SPDX-License-Identifier: Apache-2.0
# Third parties, each behind one target. `tools/deps` installs them from Debian packages.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# msgpack-cxx: headers only. Debian's target wants all of Boost, which MSGPACK_NO_BOOST makes
# unnecessary, so only the headers are looked for.
find_path(FORKMILL_MSGPACK_INCLUDE msgpack.hpp REQUIRED)
add_library(forkmill_msgpack INTERFACE)
target_include_directories(forkmill_msgpack SYSTEM INTERFACE "${FORKMILL_MSGPACK_INCLUDE}")
target_compile_definitions(forkmill_msgpack INTERFACE MSGPACK_NO_BOOST)

# libzmq by its CMake package where there is one (upstream), else by pkg-config (Debian).
add_library(forkmill_zmq INTERFACE)
find_package(ZeroMQ CONFIG QUIET)
if(TARGET libzmq)
    target_link_libraries(forkmill_zmq INTERFACE libzmq)
else()
    pkg_check_modules(FORKMILL_LIBZMQ REQUIRED IMPORTED_TARGET libzmq>=4.3)
    target_link_libraries(forkmill_zmq INTERFACE PkgConfig::FORKMILL_LIBZMQ)
endif()
find_path(FORKMILL_CPPZMQ_INCLUDE zmq.hpp REQUIRED)
target_include_directories(forkmill_zmq SYSTEM INTERFACE "${FORKMILL_CPPZMQ_INCLUDE}")

find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
if(FORKMILL_TESTS)
    find_package(GTest REQUIRED)
endif()
if(FORKMILL_BENCH)
    find_package(benchmark REQUIRED)
endif()
