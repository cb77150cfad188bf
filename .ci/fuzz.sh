#!/usr/bin/env bash
# Every fuzz target explores for some seconds under libFuzzer with ASan and UBSan, starting from its committed corpus.
#
#   SECONDS_EACH=600 .ci/fuzz.sh fuzz_wg_msg    longer, one target
#
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
each=${SECONDS_EACH:-8}
cmake -G Ninja -B build-fuzz -S . -DCMAKE_C_COMPILER=clang -DML_FUZZ=ON -DML_SANITIZE=address,undefined >/dev/null
cmake --build build-fuzz -j "$JOBS"
mapfile -t targets < <(git ls-files 'tests/fuzz/*/fuzz_*.c')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run_one() {
    src=$1 name=$(basename "$1" .c)
    bin=$(find build-fuzz -name "$name" -type f -perm -u+x | head -n1)
    mkdir -p "$work/$name"
    if ! "$bin" -max_total_time="$each" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 "$work/$name" "$(dirname "$src")/corpus/$name" \
        >"$work/$name.log" 2>&1; then
        echo "$name: FAILED"
        tail -40 "$work/$name.log"
        return 1
    fi
    printf '%s: %s runs, ok\n' "$name" "$(awk '/number_of_executed_units/ {print $2}' "$work/$name.log")"
}
pids=()
failed=0
ran=0
for src in "${targets[@]}"; do
    if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$(basename "$src" .c)"; then
        continue
    fi
    run_one "$src" &
    pids+=($!)
    ran=$((ran + 1))
    if [ ${#pids[@]} -ge "$JOBS" ]; then
        wait "${pids[0]}" || failed=1
        pids=("${pids[@]:1}")
    fi
done
for p in "${pids[@]}"; do
    wait "$p" || failed=1
done
if [ "$failed" != 0 ] || [ "$ran" = 0 ]; then
    echo "fuzz: $ran targets, failed"
    exit 1
fi
echo "fuzz: $ran targets, ${each} s each, no finding"
