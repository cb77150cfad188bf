#!/usr/bin/env bash
# Memory, code size and instruction counts on the emulated board: fails when a budget of the design is exceeded, and prints what
# changed since docs/footprint.json. Not yet a step of .ci/check: it is to become one with the last budget that is kept.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
tools/footprint_board.py --check
