#!/usr/bin/env bash
# Runs an image that needs no network and prints its console: qemu.sh IMAGE.bin [more arguments of QEMU]. Ends with the image's
# own status, or after a minute.
# SPDX-License-Identifier: MIT
set -euo pipefail
flash=$(mktemp)
trap 'rm -f "$flash"' EXIT
cp "$1" "$flash"
truncate -s 32M "$flash"
shift
timeout 60 qemu-system-riscv32 -M virt -bios none -display none -monitor none -serial stdio -device virtio-rng-device \
    -drive if=pflash,unit=0,format=raw,readonly=on,file="$flash" "$@" </dev/null
