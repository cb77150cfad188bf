/*
 * The chip of qemu-system-riscv32 -M virt: console (16550), timer (CLINT, 10 MHz), clock (Goldfish RTC), power (SiFive test
 * device), interrupts only as a reason to wake: they are never taken, the loop polls.
 *
 * SPDX-License-Identifier: MIT
 */
#include "board.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REG8(a)  (*(volatile uint8_t *)(uintptr_t)(a))
#define REG32(a) (*(volatile uint32_t *)(uintptr_t)(a))

#define TEST           0x00100000u
#define RTC            0x00101000u
#define CLINT_MTIMECMP 0x02004000u
#define CLINT_MTIME    0x0200bff8u
#define PLIC           0x0c000000u
#define UART           0x10000000u
#define UART_IRQ       10u
#define TICKS_PER_US   10u
#define PAINT          0x5a5a5a5au

extern uint32_t __stack_low[], __stack_high[];

/* ---- Console, which is also stdout of the C library ---- */

static int put(char c, FILE *f)
{
    (void)f;
    while ((REG8(UART + 5) & 0x20) == 0) {
    }
    REG8(UART) = (uint8_t)c;
    return (uint8_t)c;
}

static FILE console = FDEV_SETUP_STREAM(put, NULL, NULL, _FDEV_SETUP_WRITE);
FILE *const stdout = &console;
FILE *const stderr = &console;

int board_getchar(void)
{
    return (REG8(UART + 5) & 1) ? REG8(UART) : -1;
}

/* ---- Power ---- */

void board_init(void)
{
    REG8(UART + 1) = 1; /* interrupt when something was typed */
    for (unsigned irq = 1; irq <= UART_IRQ; irq++) {
        REG32(PLIC + 4 * irq) = 1;
    }
    REG32(PLIC + 0x2000) = (1u << (UART_IRQ + 1)) - 2;
    REG32(PLIC + 0x200000) = 0;
    REG32(CLINT_MTIMECMP) = REG32(CLINT_MTIMECMP + 4) = 0xffffffffu;
    __asm__ volatile(".option push\n .option arch, +zicsr\n csrw mie, %0\n .option pop" ::"r"(1u << 7 | 1u << 11));
}

__attribute__((weak)) int board_args(char ***argv)
{
    *argv = NULL;
    return 0;
}

void board_exit(int status)
{
    REG32(TEST) = status == 0 ? 0x5555u : (uint32_t)status << 16 | 0x3333u;
    for (;;) {
    }
}

/* What the C library's abort() and exit() end in. */
void _exit(int status)
{
    board_exit(status);
}

void abort(void)
{
    ml_board_panic("abort() was called");
}

void board_reset(void)
{
    REG32(TEST) = 0x7777u;
    for (;;) {
    }
}

void ml_board_panic(const char *why)
{
    printf("panic: %s\n", why);
    board_exit(1);
}

void board_trap(uint32_t cause, uint32_t pc, uint32_t addr)
{
    printf("trap: cause %u at %08x, address %08x\n", (unsigned)cause, (unsigned)pc, (unsigned)addr);
    board_exit(2);
}

size_t board_stack_used(void)
{
    const uint32_t *p = __stack_low;
    while (p < __stack_high && *p == PAINT) {
        p++;
    }
    return (size_t)((const uint8_t *)__stack_high - (const uint8_t *)p);
}

/* ---- Time ---- */

static uint64_t ticks(void)
{
    uint32_t hi, lo;
    do {
        hi = REG32(CLINT_MTIME + 4);
        lo = REG32(CLINT_MTIME);
    } while (hi != REG32(CLINT_MTIME + 4));
    return (uint64_t)hi << 32 | lo;
}

uint64_t board_time_us(void)
{
    return ticks() / TICKS_PER_US;
}

uint64_t board_wall_ms(void)
{
    uint32_t lo = REG32(RTC); /* reading the low half latches the high one */
    return ((uint64_t)REG32(RTC + 4) << 32 | lo) / 1000000u;
}

void board_pause(uint64_t at_us)
{
    uint64_t at = at_us > UINT64_MAX / TICKS_PER_US ? UINT64_MAX : at_us * TICKS_PER_US;
    REG32(CLINT_MTIMECMP) = 0xffffffffu;
    REG32(CLINT_MTIMECMP + 4) = (uint32_t)(at >> 32);
    REG32(CLINT_MTIMECMP) = (uint32_t)at;
    __asm__ volatile("wfi");
}

void board_wait(uint64_t at_us)
{
    if (at_us <= board_time_us()) {
        return;
    }
    board_pause(at_us);
    uint32_t irq;
    while ((irq = REG32(PLIC + 0x200004)) != 0) {
        /* Devices are quietened where they are polled; here only the controller is told that we know. */
        if (irq < UART_IRQ) {
            uint32_t dev = 0x10000000u + irq * 0x1000u;
            REG32(dev + 0x64) = REG32(dev + 0x60);
        }
        REG32(PLIC + 0x200004) = irq;
        if (irq == UART_IRQ) {
            break;
        }
    }
}

/* ---- Flash written with the image ---- */

const char *board_config_text(void)
{
    return (const char *)0x20100000u;
}

const uint8_t *board_config_roots(void)
{
    return (const uint8_t *)0x20102000u;
}
