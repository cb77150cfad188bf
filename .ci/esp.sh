#!/usr/bin/env bash
# The ESP-IDF component as far as it can be checked without ESP-IDF: Kconfig and manifest with Espressif's own tools from PyPI,
# the port's files against declarations (tests/esp/README.md says what that is worth). SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
VENV=.cache/esp-venv
if ! $VENV/bin/python -c 'import esp_kconfiglib, idf_component_tools' 2>/dev/null; then
    python3 -m venv $VENV
    $VENV/bin/pip -q install 'esp-idf-kconfig>=3,<4' 'idf-component-manager>=3,<4'
fi
$VENV/bin/python -m kconfcheck Kconfig examples/idf_network/Kconfig.projbuild examples/*/esp-idf/main/Kconfig.projbuild
$VENV/bin/python tests/esp/check_component.py
BUILD=${BUILD:-build}
[ -f "$BUILD/CMakeCache.txt" ] || cmake -G Ninja -B "$BUILD" >/dev/null
ctest --test-dir "$BUILD" -R '^esp_' --output-on-failure
