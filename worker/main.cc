// SPDX-License-Identifier: Apache-2.0
// forkmill-worker: the stock worker. Its tasks come from modules.
#include "forkmill/worker.h"

int main(int argc, char** argv) {
    forkmill::Worker worker;
    return worker.run(argc, argv);
}
