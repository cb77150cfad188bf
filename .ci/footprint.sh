#!/usr/bin/env bash
# Memory, code size and instruction counts on the emulated board: fails when a budget of the design is exceeded, and prints what
# changed since docs/footprint.json. After .ci/board.sh: what the board took in a network is from there.
# Code of the ESP-IDF component too, against its budget.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
tools/footprint_board.py --check
tools/footprint_esp.py --check
