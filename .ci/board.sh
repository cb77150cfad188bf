#!/usr/bin/env bash
# The node on an emulated microcontroller: builds the images (192 KB of RAM, or the link fails), runs the storage's power-cut
# test, then the images among official peers. Needs the cross compiler, QEMU (tools/setup.sh) and root.
#
#   BOARD_RUN=TestBoardJoins .ci/board.sh    only some of the tests in the network
#
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
export ML_BOARD_BUILD=${ML_BOARD_BUILD:-$ROOT/build-board}
BUILD=$ML_BOARD_BUILD ports/baremetal/build.sh
tests/board/run.sh "$ML_BOARD_BUILD"

log=$ML_BOARD_BUILD/board.log
cd tests/interop
go vet -tags board .
status=0
# Labs mostly wait; what depends on the machine's speed is not among the parallel ones.
rm -f "$ML_BOARD_BUILD/measured.txt"
go test -tags board -count=1 -timeout 10m -parallel 3 -run "${BOARD_RUN:-TestBoard}" -v . 2>&1 | tee "$log" |
    { grep --line-buffered -E '^ *(--- (PASS|FAIL)|board_[a-z_]*test.go|ok|FAIL|panic:)' || true; } || status=$?
if [ "$status" != 0 ]; then
    echo "board: failed; the last lines of $log:"
    tail -80 "$log"
fi
exit "$status"
