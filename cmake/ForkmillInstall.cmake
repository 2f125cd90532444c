# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: the public headers, libforkmill.so, the programs, the package
# files, the sample configs, the module they load and the systemd units; nothing of the inside.
include(CMakePackageConfigHelpers)
include(ForkmillUnits)

set(FORKMILL_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/Forkmill")

target_include_directories(forkmill INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
install(TARGETS forkmill EXPORT ForkmillTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
foreach(program forkmilld forkmill-worker forkmill_command)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    endif()
endforeach()
install(TARGETS demo_module LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/forkmill/modules")
install(DIRECTORY sdk/include/forkmill DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(DIRECTORY configs/ DESTINATION "${CMAKE_INSTALL_SYSCONFDIR}/forkmill"
        FILES_MATCHING PATTERN "*.yaml")

install(EXPORT ForkmillTargets NAMESPACE forkmill:: DESTINATION "${FORKMILL_CMAKE_DIR}")
configure_package_config_file(cmake/ForkmillConfig.cmake.in
                              "${PROJECT_BINARY_DIR}/package/ForkmillConfig.cmake"
                              INSTALL_DESTINATION "${FORKMILL_CMAKE_DIR}")
# While the major version is 0, a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/ForkmillConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/ForkmillConfig.cmake"
              "${PROJECT_BINARY_DIR}/package/ForkmillConfigVersion.cmake"
        DESTINATION "${FORKMILL_CMAKE_DIR}")

# Found from where the file lies, so that an installed tree may be moved.
file(RELATIVE_PATH FORKMILL_PC_TO_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" FORKMILL_PC_TO_PREFIX "${FORKMILL_PC_TO_PREFIX}")
configure_file(cmake/forkmill.pc.in "${PROJECT_BINARY_DIR}/package/forkmill.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/forkmill.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
