# SPDX-License-Identifier: Apache-2.0
# How tests are found and made; tests/CMakeLists.txt says which exist.

# forkmill_test(NAME DIR dir LABEL label TIMEOUT seconds [SERIAL] [LONG filter LONG_TIMEOUT seconds]
#               [PROGRAMS target...] LINKS target...)
# SERIAL: these tests measure time closely, so ctest runs them one at a time. LONG: those of this
# gtest filter have another limit. PROGRAMS: what they start, built along with them.
function(forkmill_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "DIR;LABEL;TIMEOUT;LONG;LONG_TIMEOUT"
                          "LINKS;PROGRAMS")
    set(dir "${CMAKE_CURRENT_SOURCE_DIR}/${arg_DIR}")
    file(GLOB sources CONFIGURE_DEPENDS "${dir}/*.cc")
    if(NOT sources)
        return()
    endif()
    # A folder with a main.cc of its own brings its own main().
    set(main GTest::gtest_main)
    if("${dir}/main.cc" IN_LIST sources)
        set(main "")
    endif()
    add_executable(${name} ${sources})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}"
                               "${PROJECT_SOURCE_DIR}/sdk/include")
    target_link_libraries(${name} PRIVATE ${arg_LINKS} forkmill_test_support ${main})

    add_dependencies(tests_${arg_LABEL} ${name})  # `--target tests_LABEL` builds what it needs.
    set(properties LABELS ${arg_LABEL})
    if(arg_SERIAL)
        list(APPEND properties RESOURCE_LOCK forkmill_processes)
    endif()
    set(discover TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60)
    set(others "")
    if(arg_LONG)
        set(others TEST_FILTER "-${arg_LONG}")
        gtest_discover_tests(${name} ${discover} TEST_FILTER "${arg_LONG}"
                             PROPERTIES ${properties} TIMEOUT ${arg_LONG_TIMEOUT})
    endif()
    gtest_discover_tests(${name} ${discover} ${others}
                         PROPERTIES ${properties} TIMEOUT ${arg_TIMEOUT})

    file(GLOB programs CONFIGURE_DEPENDS "${dir}/programs/*.cc")
    foreach(source IN LISTS programs)
        get_filename_component(program "${source}" NAME_WE)
        add_executable(${name}_${program} "${source}")
        target_include_directories(${name}_${program} PRIVATE "${PROJECT_SOURCE_DIR}"
                                   "${PROJECT_SOURCE_DIR}/sdk/include")
        target_link_libraries(${name}_${program} PRIVATE ${arg_LINKS})
        add_dependencies(${name} ${name}_${program})
    endforeach()
    file(GLOB modules CONFIGURE_DEPENDS "${dir}/modules/*.cc")
    foreach(source IN LISTS modules)
        get_filename_component(module "${source}" NAME_WE)
        forkmill_module(${module} GLOB "${source}")
        add_dependencies(${name} ${module})
    endforeach()
    foreach(program IN LISTS arg_PROGRAMS)
        if(TARGET ${program})
            add_dependencies(${name} ${program})
        endif()
    endforeach()
endfunction()

# Every fuzz target is also a test: in other builds a program feeds it its corpus.
function(forkmill_fuzz_targets)
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/*.cc")
    foreach(source IN LISTS sources)
        get_filename_component(name "${source}" NAME_WE)
        set(corpus "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name}")
        add_executable(fuzz_${name} "${source}")
        target_link_libraries(fuzz_${name} PRIVATE forkmill_all)
        add_dependencies(tests_fuzz fuzz_${name})
        if(FORKMILL_FUZZ)
            target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
            set(arguments -runs=0)
        else()
            target_sources(fuzz_${name}
                           PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/support/replay/main.cc")
            set(arguments "")
        endif()
        if(IS_DIRECTORY "${corpus}")
            add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${arguments} "${corpus}")
            set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
        endif()
    endforeach()
endfunction()

function(forkmill_compile_fail_tests)
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cc")
    foreach(source IN LISTS sources)
        get_filename_component(name "${source}" NAME_WE)
        add_test(NAME compile_fail.${name}
                 COMMAND "${CMAKE_COMMAND}" "-DCOMPILER=${CMAKE_CXX_COMPILER}" "-DSOURCE=${source}"
                         "-DINCLUDE=${PROJECT_SOURCE_DIR}/sdk/include"
                         -P "${PROJECT_SOURCE_DIR}/cmake/CompileFail.cmake")
        set_tests_properties(compile_fail.${name} PROPERTIES LABELS compile_fail TIMEOUT 60)
    endforeach()
endfunction()

# Installs into a fresh prefix and uses the package as a stranger would: examples/ by find_package,
# the smallest of them also by pkg-config (cmake/InstallTest.cmake).
function(forkmill_install_test)
    if(FORKMILL_SANITIZE OR FORKMILL_FUZZ)
        return()  # A stranger's program is built without our sanitizer.
    endif()
    add_test(NAME install.package
             COMMAND "${CMAKE_COMMAND}" "-DBUILD_DIR=${PROJECT_BINARY_DIR}"
                     "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}" "-DCOMPILER=${CMAKE_CXX_COMPILER}"
                     "-DLAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}"
                     -P "${PROJECT_SOURCE_DIR}/cmake/InstallTest.cmake")
    set_tests_properties(install.package PROPERTIES LABELS install TIMEOUT 900
                         RESOURCE_LOCK forkmill_processes)
endfunction()
