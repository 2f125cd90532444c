# SPDX-License-Identifier: Apache-2.0
# Installs BUILD_DIR into a fresh prefix, checks what lies there, then builds and runs programs that
# know nothing but that prefix.
set(work "${BUILD_DIR}/install-test")
set(prefix "${work}/prefix")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")

function(run)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUTPUT" "COMMAND")
    execute_process(COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${work}" RESULT_VARIABLE result
                    OUTPUT_VARIABLE output ERROR_VARIABLE output TIMEOUT 600)
    if(NOT result EQUAL 0)
        string(REPLACE ";" " " shown "${arg_COMMAND}")
        message(FATAL_ERROR "failed (${result}): ${shown}\n${output}")
    endif()
    if(arg_OUTPUT)
        set(${arg_OUTPUT} "${output}" PARENT_SCOPE)
    endif()
endfunction()

run(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${prefix}")

# Nothing of the inside may be installed: a header of ours that lands there is a promise.
file(GLOB_RECURSE installed RELATIVE "${prefix}" "${prefix}/*")
foreach(file IN LISTS installed)
    if(NOT file MATCHES "^include/forkmill/[a-z0-9_/]+\\.h$"
       AND NOT file MATCHES "^lib[^/]*(/[^/]+)?/libforkmill\\.so(\\.[0-9.]+)?$"
       AND NOT file MATCHES "^lib[^/]*(/[^/]+)?/pkgconfig/forkmill\\.pc$"
       AND NOT file MATCHES "^lib[^/]*(/[^/]+)?/cmake/Forkmill/Forkmill[A-Za-z-]+\\.cmake$"
       AND NOT file MATCHES "^lib[^/]*(/[^/]+)?/forkmill/modules/demo_module\\.so$"
       AND NOT file MATCHES "^bin/(forkmilld|forkmill-worker|forkmill)$"
       AND NOT file MATCHES "^lib/systemd/system/forkmill(d|-worker)\\.service$"
       AND NOT file MATCHES "^etc/forkmill/[a-z0-9_]+\\.yaml$")
        message(FATAL_ERROR "installed, and should not be: ${file}")
    endif()
endforeach()
foreach(program forkmilld forkmill-worker forkmill)
    if(NOT EXISTS "${prefix}/bin/${program}")
        message(FATAL_ERROR "not installed: bin/${program}")
    endif()
    run(COMMAND "${prefix}/bin/${program}" --version OUTPUT version)
    if(NOT version MATCHES "[0-9]+\\.[0-9]+\\.[0-9]+")
        message(FATAL_ERROR "${program} --version says no version: ${version}")
    endif()
endforeach()

# Every sample config is there, and those of the two daemons are good as they are.
file(GLOB configs RELATIVE "${SOURCE_DIR}/configs" "${SOURCE_DIR}/configs/*.yaml")
foreach(config broker.yaml worker.yaml minimal.yaml ${configs})
    if(NOT EXISTS "${prefix}/etc/forkmill/${config}")
        message(FATAL_ERROR "not installed: etc/forkmill/${config}")
    endif()
endforeach()
run(COMMAND "${prefix}/bin/forkmilld" -t -c "${prefix}/etc/forkmill/broker.yaml")
run(COMMAND "${prefix}/bin/forkmill-worker" -t -c "${prefix}/etc/forkmill/worker.yaml")

# The units run what was installed, with the configs that were installed.
set(config_of_forkmilld broker.yaml)
set(config_of_forkmill-worker worker.yaml)
find_program(systemd_analyze systemd-analyze)
foreach(program forkmilld forkmill-worker)
    set(unit "${prefix}/lib/systemd/system/${program}.service")
    if(NOT EXISTS "${unit}")
        message(FATAL_ERROR "not installed: ${unit}")
    endif()
    file(READ "${unit}" text)
    set(command "${prefix}/bin/${program} -c ${prefix}/etc/forkmill/${config_of_${program}}")
    foreach(line "ExecStart=${command}\n" "ExecReload=${command} -s reload\n")
        string(FIND "${text}" "\n${line}" at)
        if(at EQUAL -1)
            message(FATAL_ERROR "${unit} has no line ${line}")
        endif()
    endforeach()
    if(systemd_analyze)
        run(COMMAND "${systemd_analyze}" verify --man=no "${unit}" OUTPUT said)
        if(said MATCHES "${program}\\.service")
            message(FATAL_ERROR "systemd-analyze says of ${unit}:\n${said}")
        endif()
    endif()
endforeach()

# The library shows its public interface and nothing else.
file(GLOB_RECURSE library "${prefix}/*/libforkmill.so")
run(COMMAND nm -DC --defined-only "${library}" OUTPUT symbols)
string(REGEX MATCH "forkmill::(base|wire|net|session|supervisor|engine|broker)::[^\n]*" inside
       "${symbols}")
if(inside)
    message(FATAL_ERROR "libforkmill.so exports ${inside}")
endif()

# By find_package: the whole of examples/, as a project of its own.
run(COMMAND "${CMAKE_COMMAND}" -S "${SOURCE_DIR}/examples" -B "${work}/examples" -G Ninja
            "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
            "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" -DCMAKE_BUILD_TYPE=Debug)
run(COMMAND "${CMAKE_COMMAND}" --build "${work}/examples" --parallel 2)
file(GLOB_RECURSE hello "${work}/examples/hello")
if(NOT hello)
    message(FATAL_ERROR "examples/ built no program `hello`")
endif()
run(COMMAND ${hello} OUTPUT by_cmake)

# By pkg-config: one source, one compiler call.
file(GLOB_RECURSE pc "${prefix}/forkmill.pc")
get_filename_component(pc_dir "${pc}" DIRECTORY)
run(COMMAND "${CMAKE_COMMAND}" -E env "PKG_CONFIG_PATH=${pc_dir}"
            pkg-config --cflags --libs forkmill OUTPUT flags)
string(STRIP "${flags}" flags)
separate_arguments(flags UNIX_COMMAND "${flags}")
get_filename_component(lib_dir "${pc_dir}" DIRECTORY)
run(COMMAND "${COMPILER}" "${SOURCE_DIR}/examples/hello.cc" -o "${work}/hello" ${flags} -pthread)
run(COMMAND "${CMAKE_COMMAND}" -E env "LD_LIBRARY_PATH=${lib_dir}" "${work}/hello"
    OUTPUT by_pkg_config)
if(by_cmake STREQUAL "" OR NOT by_cmake STREQUAL by_pkg_config)
    message(FATAL_ERROR "hello says two things:\n${by_cmake}\n${by_pkg_config}")
endif()
message(STATUS "hello, by find_package:\n${by_cmake}hello, by pkg-config:\n${by_pkg_config}")
file(REMOVE_RECURSE "${work}")
