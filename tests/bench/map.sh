#!/usr/bin/env bash
# Netmap parsing speed on this machine, and instructions on a bare rv32 one (QEMU counts them); what is measured is said at the top of map/bench_map.c.
# SPDX-License-Identifier: MIT
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=$(cd "${BUILD:-$ROOT/build}" && pwd)
OUT=$ROOT/.cache/bench
mkdir -p "$OUT"
cmake --build "$BUILD" --target ml_control ml_map ml_json >/dev/null
${CC:-cc} -std=c11 -O2 -D_POSIX_C_SOURCE=200809L -I"$ROOT/include" -I"$ROOT/src" "$ROOT/tests/bench/map/bench_map.c" \
  "$BUILD"/libml_control.a "$BUILD"/libml_map.a "$BUILD"/libml_json.a "$BUILD"/libml_base.a -o "$OUT/bench_map"
"$OUT/bench_map" "$@"

if command -v riscv64-unknown-elf-gcc >/dev/null && command -v qemu-system-riscv32 >/dev/null; then
  cd "$ROOT"
  riscv64-unknown-elf-gcc --specs=picolibc.specs --oslib=semihost --crt0=hosted -march=rv32imac -mabi=ilp32 -std=c11 -Os \
    -ffunction-sections -DDEFAULT_PEERS=200 -Iinclude -Isrc tests/bench/map/bench_map.c src/control/map_*.c src/map/*.c \
    src/json/*.c src/base/*.c -Wl,--gc-sections -Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=4M \
    -Wl,--defsym=__ram=0x80400000,--defsym=__ram_size=8M,--defsym=__heap_size_min=2M -o "$OUT/bench_map.elf"
  timeout 60 qemu-system-riscv32 -M virt -m 64 -nographic -bios none -semihosting-config enable=on,target=native \
    -icount shift=0 -kernel "$OUT/bench_map.elf" </dev/null 2>&1 | sed 's/^map:/map, rv32:/'
else
  echo "map: no rv32 compiler or QEMU, instructions left out"
fi
