// SPDX-License-Identifier: Apache-2.0
// Forkmill: run C++ functions in other processes. This header is all a program needs; docs/tutorial
// walks through it.
#pragma once

#include "forkmill/async_result.h"
#include "forkmill/codec.h"
#include "forkmill/context.h"
#include "forkmill/dispatcher.h"
#include "forkmill/errors.h"
#include "forkmill/log.h"
#include "forkmill/options.h"
#include "forkmill/pool.h"
#include "forkmill/process.h"
#include "forkmill/result_range.h"
#include "forkmill/task.h"
#include "forkmill/tasks.h"
#include "forkmill/worker.h"
