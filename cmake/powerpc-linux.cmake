# Toolchain of a 32-bit big-endian Linux, whose programs run under user-mode QEMU; .ci/cross.sh uses it. clang, because Debian's
# gcc for it cannot be installed beside gcc-multilib; the folders are those of libc6-dev-powerpc-cross.
# SPDX-License-Identifier: MIT
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR powerpc)
set(CMAKE_C_COMPILER clang)
set(CMAKE_C_COMPILER_TARGET powerpc-linux-gnu)
set(CMAKE_C_FLAGS_INIT "-B/usr/powerpc-linux-gnu/lib")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-L/usr/powerpc-linux-gnu/lib -Wl,--no-warn-rwx-segments")
set(CMAKE_AR /usr/bin/powerpc-linux-gnu-ar)
set(CMAKE_RANLIB /usr/bin/powerpc-linux-gnu-ranlib)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-ppc;-L;/usr/powerpc-linux-gnu)
set(CMAKE_FIND_ROOT_PATH /usr/powerpc-linux-gnu ${ML_CROSS_PREFIX})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
