#!/usr/bin/env bash
# The lab: every pair of kinds of site, the silence after every change, and the traffic of an idle node, beside the official
# node in the same run. Writes docs/nat-matrix.md and docs/nat-matrix.svg. Needs root and a build (make). Takes about 15
# minutes, 40 with LAB_TRIES=10 LAB_ROUNDS=5 (each test says how long it took); ends by itself after 90, and leaves neither
# processes nor namespaces behind.
#
#   LAB_QUICK=1 tests/lab/run.sh     four kinds, one try, no document: 2 minutes
#   LAB_TRIES=10 LAB_ROUNDS=10 ...   tries of each pair (3), rounds of each event (3)
#   LAB_EVENTS=lost                  only the events of TestSilence that match
#   LAB_ONLY=Silence                 only the tests that match; what is not measured keeps its last results in .cache/lab
#   LAB_ONLY=Idle LAB_IDLE=600       an idle node for ten minutes, in a table of its own
#   ML_BIN=...                       another program than build/ports/posix/microlink
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "lab: needs root to make network namespaces" >&2; exit 1; }
# shellcheck disable=SC1091
[ ! -f .cache/env.sh ] || . .cache/env.sh
export ML_REQUIRE_ROOT=1
if [ -n "${LAB_QUICK:-}" ]; then
    cd tests/interop
    exec go test -count=1 -timeout 5m ./lab -run Quick -v
fi
out=$PWD/.cache/lab
mkdir -p "$out"
export LAB_OUT=$out LAB_TRIES=${LAB_TRIES:-3} LAB_ROUNDS=${LAB_ROUNDS:-3}
only=${LAB_ONLY:-^Test(Matrix|MatrixOnBadLinks|Silence|Idle)\$}
status=0
(cd tests/interop && go test -tags lab -count=1 -timeout 90m ./lab -run "$only" -v) 2>&1 | tee "$out/log" || status=$?
tests/lab/report.py "$out"
exit "$status"
