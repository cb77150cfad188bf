/*
 * Printing in ESP-IDF's target "linux". A task that the tick suspends inside of the C library keeps the library's lock, and the next
 * one that prints would wait for it in the host, for ever: the scheduler does not know of that wait. So signals, which are
 * the tick, are held off during each call (the linker's --wrap).
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

int __real_vprintf(const char *format, va_list args);
int __real_puts(const char *text);
int __real_putchar(int c);
int __real_fflush(FILE *f);
int __wrap_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int __wrap_vprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
int __wrap_puts(const char *text);
int __wrap_putchar(int c);
int __wrap_fflush(FILE *f);

static void hold(sigset_t *old)
{
    sigset_t any;
    sigfillset(&any);
    pthread_sigmask(SIG_BLOCK, &any, old);
}

static void let(const sigset_t *old)
{
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

int __wrap_vprintf(const char *format, va_list args)
{
    sigset_t old;
    hold(&old);
    int n = __real_vprintf(format, args);
    let(&old);
    return n;
}

int __wrap_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = __wrap_vprintf(format, args);
    va_end(args);
    return n;
}

int __wrap_puts(const char *text)
{
    sigset_t old;
    hold(&old);
    int n = __real_puts(text);
    let(&old);
    return n;
}

int __wrap_putchar(int c)
{
    sigset_t old;
    hold(&old);
    int n = __real_putchar(c);
    let(&old);
    return n;
}

int __wrap_fflush(FILE *f)
{
    sigset_t old;
    hold(&old);
    int n = __real_fflush(f);
    let(&old);
    return n;
}
