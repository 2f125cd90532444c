// SPDX-License-Identifier: Apache-2.0
// FORKMILL_API marks what libforkmill.so exports; everything else is hidden.
#pragma once

#define FORKMILL_API __attribute__((visibility("default")))
