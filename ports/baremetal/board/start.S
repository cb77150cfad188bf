/*
 * Reset and traps of the board. Memory beyond the RAM we claim is locked away by physical memory protection, so that a use of
 * it is a fault. The stack is filled with a pattern: board_stack_used() looks how far it was overwritten.
 * SPDX-License-Identifier: MIT
 */
    .option arch, +zicsr
    .section .init, "ax"        /* no name that a function could have: .text.start is that of a function start() */
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la t0, trap
    csrw mtvec, t0
    csrw mie, zero
    li t0, 0x80000000 >> 2      /* entry 0: everything below RAM */
    csrw pmpaddr0, t0
    la t0, __ram_end
    srli t0, t0, 2
    csrw pmpaddr1, t0           /* entry 1: RAM */
    li t0, 0x3fffffff
    csrw pmpaddr2, t0           /* entry 2: the rest, nothing allowed, locked */
    li t0, 0x880f0f
    csrw pmpcfg0, t0
    la t0, __stack_low
    la t1, __stack_high
    li t2, 0x5a5a5a5a
1:  sw t2, 0(t0)
    addi t0, t0, 4
    bltu t0, t1, 1b
    mv sp, t1
    la t0, __data_start
    la t1, __data_end
    la t2, __data_load
2:  bgeu t0, t1, 3f
    lw t3, 0(t2)
    sw t3, 0(t0)
    addi t0, t0, 4
    addi t2, t2, 4
    j 2b
3:  la t0, __bss_start
    la t1, __bss_end
4:  bgeu t0, t1, 5f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 4b
5:  la tp, __tls_start
    call board_init
    addi sp, sp, -16
    mv a0, sp
    call board_args
    lw a1, 0(sp)
    addi sp, sp, 16
    call main
    call board_exit

    .align 4
trap:
    la sp, __stack_high         /* whatever it was, there is no way back */
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    call board_trap
