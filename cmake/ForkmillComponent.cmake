# SPDX-License-Identifier: Apache-2.0
# A source for a library that has none of its own.
set(FORKMILL_ANCHOR "${PROJECT_BINARY_DIR}/anchor.cc")
file(GENERATE OUTPUT "${FORKMILL_ANCHOR}" CONTENT "// SPDX-License-Identifier: Apache-2.0\n")

# forkmill_component(NAME [GLOB dir...] [LINKS target...] [CAGES target...])
#
# Makes static library forkmill_NAME from every .cc in the given folders (default: this one), except
# main.cc. LINKS are the components it stands on; CAGES are third parties that only its own sources
# may include (law 2). A folder without sources makes an empty library, so that the tree configures
# at every stage.
function(forkmill_component name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "GLOB;LINKS;CAGES")
    if(NOT arg_GLOB)
        set(arg_GLOB ".")
    endif()
    set(patterns "")
    foreach(dir IN LISTS arg_GLOB)
        list(APPEND patterns "${CMAKE_CURRENT_SOURCE_DIR}/${dir}/*.cc")
    endforeach()
    file(GLOB sources CONFIGURE_DEPENDS ${patterns})
    list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
    if(NOT sources)
        set(sources "${FORKMILL_ANCHOR}")
    endif()

    set(target "forkmill_${name}")
    add_library(${target} STATIC ${sources})
    target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}"
                               "${PROJECT_SOURCE_DIR}/sdk/include")
    target_link_libraries(${target} PUBLIC ${arg_LINKS} Threads::Threads ${CMAKE_DL_LIBS}
                                    PRIVATE ${arg_CAGES})
endfunction()

# forkmill_binary(TARGET OUTPUT name [DIR dir] LINKS target...): a program, if its main.cc exists.
function(forkmill_binary target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "OUTPUT;DIR" "LINKS")
    file(GLOB main CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${arg_DIR}/main.cc")
    if(NOT main)
        return()
    endif()
    add_executable(${target} ${main})
    set_target_properties(${target} PROPERTIES OUTPUT_NAME "${arg_OUTPUT}"
                          INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}"
                               "${PROJECT_SOURCE_DIR}/sdk/include")
    target_link_libraries(${target} PRIVATE ${arg_LINKS} Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

# forkmill_module(NAME GLOB pattern...): a task module for forkmill-worker, if it has sources.
function(forkmill_module name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "GLOB")
    file(GLOB sources CONFIGURE_DEPENDS ${arg_GLOB})
    if(NOT sources)
        return()
    endif()
    add_library(${name} MODULE ${sources})
    set_target_properties(${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY
                          "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/forkmill/modules")
    target_link_libraries(${name} PRIVATE forkmill)
endfunction()
