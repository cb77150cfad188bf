# Toolchain of a Cortex-M4 without operating system, picolibc as C library; .ci/cross.sh compiles what is portable with it.
# SPDX-License-Identifier: MIT
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_ASM_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(ML_BOARD_ARCH -mcpu=cortex-m4 -mthumb)
set(ML_BOARD_FLAGS "")
string(JOIN " " CMAKE_C_FLAGS_INIT ${ML_BOARD_ARCH} --specs=picolibc.specs)
string(JOIN " " CMAKE_ASM_FLAGS_INIT ${ML_BOARD_ARCH})
