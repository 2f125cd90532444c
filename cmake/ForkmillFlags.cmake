# SPDX-License-Identifier: Apache-2.0
# Compiler, linker and output settings that every target shares.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

add_compile_options(-Wall -Wextra -Wconversion -Wshadow)
if(FORKMILL_WERROR)
    add_compile_options(-Werror)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # Designated initializers name what differs from the default; g++ knows that.
    add_compile_options(-Wno-missing-field-initializers)
endif()

# A file name in a message must not tell where somebody's checkout was.
add_compile_options("-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # At -O3 g++ 12 takes members of an inlined std::variant for uninitialised.
    add_compile_options(-Wno-error=maybe-uninitialized)
endif()
if(FORKMILL_SANITIZE)
    add_compile_options("-fsanitize=${FORKMILL_SANITIZE}" -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options("-fsanitize=${FORKMILL_SANITIZE}")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # g++ 12 sees uninitialised reads in its own instrumented standard library.
        add_compile_options(-Wno-maybe-uninitialized)
        if(FORKMILL_SANITIZE MATCHES "thread")
            add_compile_options(-Wno-tsan)
        endif()
    endif()
endif()
if(FORKMILL_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "FORKMILL_FUZZ needs clang++ (preset clang-fuzz)")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=address,undefined)
endif()

find_program(FORKMILL_CCACHE ccache)
if(FORKMILL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${FORKMILL_CCACHE}")
endif()
find_program(FORKMILL_LLD ld.lld)
if(FORKMILL_LLD)
    add_link_options(-fuse-ld=lld)
endif()
add_link_options(-Wl,--as-needed -Wl,--build-id=sha1)
