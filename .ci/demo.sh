#!/usr/bin/env bash
# The demo of the README, as a user runs it. SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
make demo
