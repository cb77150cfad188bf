# Toolchain of the emulated board: an rv32imac microcontroller without operating system, picolibc as C library.
# SPDX-License-Identifier: MIT
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR riscv32)
set(CMAKE_C_COMPILER riscv64-unknown-elf-gcc)
set(CMAKE_ASM_COMPILER riscv64-unknown-elf-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(ML_BOARD_ARCH -march=rv32imac -mabi=ilp32)
set(ML_BOARD_FLAGS -msave-restore -fno-jump-tables)
# For size, as in ports/esp-idf/component.cmake: the tuning 1 KB, texts that are not aligned to words 0.7 KB, no more instructions.
set(ML_BOARD_ENGINE_FLAGS -mtune=size -malign-data=natural)
# Without two optimisations that grow this code, 1 KB, for 1 % more instructions of a small packet at most; not for the
# cryptography, which would take 3 % more.
set(ML_BOARD_PLAIN_FLAGS -fno-ipa-cp -fno-caller-saves)
string(JOIN " " CMAKE_C_FLAGS_INIT ${ML_BOARD_ARCH} --specs=picolibc.specs)
string(JOIN " " CMAKE_ASM_FLAGS_INIT ${ML_BOARD_ARCH})
