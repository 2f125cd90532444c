# SPDX-License-Identifier: Apache-2.0
# The systemd units: `cmake --install` puts them where systemd looks, below the prefix it is given.
#
# As they lie in deploy/systemd they find programs by name and configs in /etc, which is right for a
# unit that is copied by hand. The installed ones name what was installed beside them, wherever the
# prefix is, which is known only then.
set(FORKMILL_SYSTEMD_UNIT_DIR "lib/systemd/system" CACHE STRING
    "Where the systemd units are installed, absolute or below the prefix; empty: nowhere")
if(NOT FORKMILL_SYSTEMD_UNIT_DIR)
    return()
endif()

foreach(variable FORKMILL_SYSTEMD_UNIT_DIR CMAKE_INSTALL_BINDIR CMAKE_INSTALL_SYSCONFDIR)
    install(CODE "set(${variable} \"${${variable}}\")")
endforeach()
install(CODE "set(source \"${PROJECT_SOURCE_DIR}/deploy/systemd\")
set(made \"${PROJECT_BINARY_DIR}/units\")")
install(CODE [[
foreach(variable FORKMILL_SYSTEMD_UNIT_DIR CMAKE_INSTALL_BINDIR CMAKE_INSTALL_SYSCONFDIR)
    get_filename_component(${variable} "${${variable}}" ABSOLUTE BASE_DIR "${CMAKE_INSTALL_PREFIX}")
endforeach()
file(GLOB units "${source}/*.service")
foreach(unit IN LISTS units)
    get_filename_component(name "${unit}" NAME)
    file(READ "${unit}" text)
    string(REGEX REPLACE "\nExec(Start|Reload)=(forkmill)" "\nExec\\1=${CMAKE_INSTALL_BINDIR}/\\2"
           text "${text}")
    string(REPLACE " -c /etc/forkmill/" " -c ${CMAKE_INSTALL_SYSCONFDIR}/forkmill/" text "${text}")
    # True of the file it was made of, and of this one no more.
    string(REGEX REPLACE "\n# A name without a folder is looked up[^\n]*" "" text "${text}")
    file(WRITE "${made}/${name}" "${text}")
    file(INSTALL DESTINATION "${FORKMILL_SYSTEMD_UNIT_DIR}" TYPE FILE FILES "${made}/${name}")
endforeach()
]])
