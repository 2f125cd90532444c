# SPDX-License-Identifier: Apache-2.0
# Target `checkheaders`: every header compiles on its own, as the first include of a source.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}"
     core/*.h broker/*.h worker/*.h sdk/*.h cli/*.h)
set(alone "")
foreach(header IN LISTS headers)
    string(MAKE_C_IDENTIFIER "${header}" name)
    set(source "${PROJECT_BINARY_DIR}/checkheaders/${name}.cc")
    file(GENERATE OUTPUT "${source}"
         CONTENT "// SPDX-License-Identifier: Apache-2.0\n#include \"${header}\"\n")
    list(APPEND alone "${source}")
endforeach()
if(alone)
    add_library(checkheaders OBJECT EXCLUDE_FROM_ALL ${alone})
    target_link_libraries(checkheaders PRIVATE forkmill_all forkmill_cli forkmill_zmq)
endif()
