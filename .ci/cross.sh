#!/usr/bin/env bash
# Other machines: the engine and what is portable of the bare-metal port compiled for a Cortex-M4, and every unit test run on a
# 32-bit big-endian machine under user-mode QEMU, those of both backends of src/crypto included. libsodium, cmocka, nghttp2 and
# Mbed TLS for it are compiled from the distribution's source packages, the first time; they are kept in .cache/cross.
#
#   .ci/cross.sh              both
#   .ci/cross.sh cortex-m4    only that (or: powerpc)
#
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
cache=$ROOT/.cache/cross
what=${1:-all}

cortex_m4() {
    ports/baremetal/build_cortex.sh
    arm-none-eabi-size -t build-cortex/libportable.a | tail -n 1
}

# The source package has no configure script, and its portable C needs none.
sodium() { # source, build, prefix
    mkdir -p "$2" "$3/lib/pkgconfig" "$3/include"
    cp -r "$1/include/." "$3/include"
    sed 's/@VERSION@/1.0.18/; s/@SODIUM_LIBRARY_VERSION_MAJOR@/10/; s/@SODIUM_LIBRARY_VERSION_MINOR@/3/; /@SODIUM_LIBRARY_MINIMAL_DEF@/d' \
        "$1/include/sodium/version.h.in" >"$3/include/sodium/version.h"
    (cd "$2" && find "$1" -name '*.c' -print0 | xargs -0 -n 8 -P "$JOBS" clang --target=powerpc-linux-gnu -O2 -w -DCONFIGURED=1 -DNATIVE_BIG_ENDIAN=1 \
        "-I$3/include" "-I$3/include/sodium" -c && rm -f "$3/lib/libsodium.a" && powerpc-linux-gnu-ar rcs "$3/lib/libsodium.a" ./*.o)
    printf 'prefix=%s\nName: libsodium\nDescription: from the source package\nVersion: 1.0.18\nLibs: -L${prefix}/lib -lsodium\nCflags: -I${prefix}/include\n' \
        "$3" >"$3/lib/pkgconfig/libsodium.pc"
}

libraries() { # into $prefix
    local prefix=$1 sources src=() build=$cache/build-powerpc common
    sources=$(sh cmake/fetch_package.sh "$cache/src" libsodium cmocka nghttp2 mbedtls) # a process substitution that fails is not heard of
    mapfile -t src <<<"$sources"
    rm -rf "$prefix" "$build"
    sodium "${src[0]}/src/libsodium" "$build/libsodium" "$prefix"
    common=(-G Ninja "-DCMAKE_TOOLCHAIN_FILE=$ROOT/cmake/powerpc-linux.cmake" "-DCMAKE_INSTALL_PREFIX=$prefix"
            -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -Wno-dev -DCMAKE_INSTALL_LIBDIR=lib)
    cmake "${common[@]}" -S "${src[1]}" -B "$build/cmocka" -DWITH_EXAMPLES=OFF -DWITH_STATIC_LIB=ON >/dev/null 2>&1
    cmake --build "$build/cmocka" --target install -j "$JOBS" >/dev/null
    cmake "${common[@]}" -S "${src[2]}" -B "$build/nghttp2" -DENABLE_LIB_ONLY=ON -DENABLE_STATIC_LIB=ON -DENABLE_SHARED_LIB=OFF >/dev/null 2>&1
    cmake --build "$build/nghttp2" --target install -j "$JOBS" >/dev/null
    cmake "${common[@]}" -S "${src[3]}" -B "$build/mbedtls" -DENABLE_TESTING=OFF -DENABLE_PROGRAMS=OFF >/dev/null 2>&1
    cmake --build "$build/mbedtls" --target install -j "$JOBS" >/dev/null
    rm -rf "$build"
    touch "$prefix/.complete"
}

powerpc() {
    local prefix=$cache/powerpc
    [ -f "$prefix/.complete" ] || libraries "$prefix"
    export PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig QEMU_LD_PREFIX=/usr/powerpc-linux-gnu
    cmake -G Ninja -B build-powerpc -S . -DCMAKE_TOOLCHAIN_FILE="$ROOT/cmake/powerpc-linux.cmake" -DML_CROSS_PREFIX="$prefix" \
        -DCMAKE_BUILD_TYPE=MinSizeRel >/dev/null
    cmake --build build-powerpc -j "$JOBS"
    # The simulator says nothing new here, and no chip that the ESP-IDF port runs on is big-endian.
    ctest --test-dir build-powerpc --output-on-failure -j "$JOBS" -R '^(test|replay)_' -E '^test_esp_run$'
}

case $what in
cortex-m4) cortex_m4 ;;
powerpc) powerpc ;;
*)
    cortex_m4
    powerpc
    ;;
esac
