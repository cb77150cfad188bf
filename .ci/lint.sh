#!/usr/bin/env bash
# Layers, formatting, and documents made from the tests. SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
tools/check_layers.py
sources | xargs clang-format --dry-run -Werror
echo "clang-format: ok, $(sources | wc -l) files"
tools/conformance.py --check
