# Toolchain of the emulated board: an rv32imac microcontroller without operating system, picolibc as C library.
# SPDX-License-Identifier: MIT
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR riscv32)
set(CMAKE_C_COMPILER riscv64-unknown-elf-gcc)
set(CMAKE_ASM_COMPILER riscv64-unknown-elf-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(ML_BOARD_ARCH -march=rv32imac -mabi=ilp32)
set(ML_BOARD_FLAGS -msave-restore -fno-jump-tables)
set(ML_BOARD_ENGINE_FLAGS -mtune=size) # 1 KB less, and no more instructions
string(JOIN " " CMAKE_C_FLAGS_INIT ${ML_BOARD_ARCH} --specs=picolibc.specs)
string(JOIN " " CMAKE_ASM_FLAGS_INIT ${ML_BOARD_ARCH})
