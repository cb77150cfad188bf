#!/usr/bin/env bash
# Tests of the bare-metal port that need no network: run.sh BUILD, the folder ports/baremetal/build.sh built into.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
gcc -std=c11 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude -Iports/baremetal \
    tests/board/test_flash_store.c ports/baremetal/flash_store.c -o "$build/test_flash_store"
"$build/test_flash_store"
