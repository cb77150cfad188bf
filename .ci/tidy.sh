#!/usr/bin/env bash
# clang-tidy over the core and the ports; findings are errors. SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
[ -f build-asan/compile_commands.json ] || cmake -G Ninja -B build-asan -S . -DCMAKE_C_COMPILER=clang -DML_SANITIZE=address,undefined >/dev/null
mapfile -t files < <(git ls-files 'src/*.c' 'ports/posix/*.c')
printf '%s\n' "${files[@]}" | xargs -P "$JOBS" -n 4 clang-tidy -p build-asan --quiet 2>/dev/null
echo "clang-tidy: ok, ${#files[@]} files"
