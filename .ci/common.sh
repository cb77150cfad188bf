# Sourced by the steps: where things are, and Go when tools/setup.sh put it beside the tree. SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
JOBS=${JOBS:-$(nproc)}
if [ -f .cache/env.sh ]; then
    # shellcheck disable=SC1091
    . .cache/env.sh
fi
sources() {
    git ls-files 'src/*.[ch]' 'include/*.h' 'ports/*.[ch]' 'examples/*.[ch]' 'tests/*.[ch]' 'tools/*.[ch]'
}
