#!/usr/bin/env bash
# Tests of the bare-metal port that need no network: run.sh BUILD, the folder ports/baremetal/build.sh built into.
#
#   BOARD_FAULTS=--all tests/board/run.sh BUILD    every single request for memory fails in turn, not only one for each place in the code
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
gcc -std=c11 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude -Iports/baremetal \
    tests/board/test_flash_store.c ports/baremetal/flash_store.c -o "$build/test_flash_store"
"$build/test_flash_store"

# The port's files compiled for this machine, around a board that is a process, in virtual time.
lwip=$(sh cmake/fetch_lwip.sh "$PWD/.cache/lwip")
sources=$(sh ports/baremetal/fetch_sources.sh "$PWD/.cache/board") # a process substitution that fails is not heard of
mapfile -t fetched <<<"$sources"
host=$build/host
cmake -G Ninja -S tests/board/host -B "$host" -DLWIP_DIR="$lwip" -DMBEDTLS_DIR="${fetched[0]}" >/dev/null
cmake --build "$host" -j "${JOBS:-2}"
(
    cd "$host"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=lab
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout relay.key -out relay.csr -subj /CN=relay1.example
    openssl x509 -req -in relay.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out relay.pem \
        -extfile <(echo subjectAltName=DNS:relay1.example)
    openssl x509 -in ca.pem -outform der -out ca.der
) 2>/dev/null
for what in entropy flash hour memory; do
    "$host/test_faults" "$host/relay.pem" "$host/relay.key" "$host/ca.der" "$what" ${BOARD_FAULTS:+"$BOARD_FAULTS"}
done
