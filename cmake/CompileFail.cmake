# SPDX-License-Identifier: Apache-2.0
# Passes when SOURCE does not compile and the compiler says every `// expect: text` of it.
file(STRINGS "${SOURCE}" expected REGEX "^// expect: ")
if(NOT expected)
    message(FATAL_ERROR "${SOURCE}: no `// expect:` line")
endif()
execute_process(COMMAND "${COMPILER}" -std=c++20 -fsyntax-only -DMSGPACK_NO_BOOST "-I${INCLUDE}"
                        "${SOURCE}"
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result EQUAL 0)
    message(FATAL_ERROR "${SOURCE} compiles, and should not")
endif()
foreach(line IN LISTS expected)
    string(REGEX REPLACE "^// expect: " "" text "${line}")
    string(FIND "${output}" "${text}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "the compiler did not say: ${text}\nbut:\n${output}")
    endif()
endforeach()
