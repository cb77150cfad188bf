#!/usr/bin/env bash
# WireGuard speed of microlink against wireguard-go and boringtun: the same work, the same machine, the same run.
# Prints the best of ROUNDS interleaved rounds (default 3) and the ratios microlink / other. What each measures is said at
# the top of wg/bench_wg.c, boringtun/src/main.rs and tests/interop/wgbench/main.go; note that wireguard-go's data figures
# include the queues between its goroutines and use all cores, while the other two use one thread and no queue.
# SPDX-License-Identifier: MIT
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=$(cd "${BUILD:-$ROOT/build}" && pwd)
ROUNDS=${ROUNDS:-3}
OUT=$ROOT/.cache/bench
mkdir -p "$OUT"

cmake --build "$BUILD" --target ml_wg >/dev/null
# shellcheck disable=SC2046
${CC:-cc} -std=c11 -O2 -I"$ROOT/include" -I"$ROOT/src" "$ROOT/tests/bench/wg/bench_wg.c" "$BUILD"/libml_wg.a \
  "$BUILD"/libml_crypto.a "$BUILD"/libml_base.a $(pkg-config --libs libsodium) -o "$OUT/bench_wg"
names=(microlink wireguard-go)
cmds=("$OUT/bench_wg" "$OUT/wgbench")
(cd "$ROOT/tests/interop" && go build -o "$OUT/wgbench" ./wgbench)
if command -v cargo >/dev/null; then
  (cd "$ROOT/tests/bench/boringtun" && CARGO_TARGET_DIR="$OUT/cargo" cargo build --release --locked --quiet)
  names+=(boringtun)
  cmds+=("$OUT/cargo/release/bench-boringtun")
else
  echo "bench: no cargo, boringtun left out"
fi

for ((round = 0; round < ROUNDS; round++)); do
  for i in "${!cmds[@]}"; do
    "${cmds[$i]}" | sed "s/^/${names[$i]} /"
  done
done | awk '
  { key = $1 SUBSEP $2; if ($3 > best[key]) best[key] = $3; unit[$2] = $4
    if (!($2 in seen)) { seen[$2] = 1; order[++n] = $2 }
    if (!($1 in who)) { who[$1] = 1; names[++m] = $1 } }
  END {
    for (i = 1; i <= n; i++) {
      line = sprintf("%-10s", order[i])
      for (j = 1; j <= m; j++) line = line sprintf("  %s %d", names[j], best[names[j], order[i]])
      line = line "  " unit[order[i]]
      for (j = 2; j <= m; j++)
        line = line sprintf("  ratio to %s %.2f", names[j], best[names[1], order[i]] / best[names[j], order[i]])
      print line
    }
  }'

# Time from start to Running and to the first pong, and TCP through TUN, beside tailscaled in the same tailnet (needs root for namespaces).
if [ "$(id -u)" = 0 ]; then
  (cd "$ROOT/tests/interop" && ML_BIN="$BUILD/ports/posix/microlink" go test -count=1 -run '^TestJoinTimeBesideTheOfficialNode$' -v . |
    grep -E 'ratio|join|pong' | sed 's/^ *[a-z_]*\.go:[0-9]*: //')
  (cd "$ROOT/tests/interop" &&
    ML_BIN="$BUILD/ports/posix/microlink" go test -count=1 -tags bench -run '^TestThroughputBesideTheOfficialNode$' -v . |
    grep ratio | sed 's/^ *[a-z_]*\.go:[0-9]*: //')
else
  echo "bench: join time and throughput left out, they need root"
fi

BUILD="$BUILD" "$ROOT/tests/bench/map.sh"
