// SPDX-License-Identifier: Apache-2.0
// All types of shared objects. docs/sharing.md says when to use which, and what each costs.
#pragma once

#include "forkmill/dict.h"
#include "forkmill/list.h"
#include "forkmill/lock.h"
#include "forkmill/namespace.h"
#include "forkmill/pipe.h"
#include "forkmill/queue.h"
#include "forkmill/sync.h"
#include "forkmill/value.h"
