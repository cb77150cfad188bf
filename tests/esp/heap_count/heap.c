/*
 * Counting allocations (see heap.h), by the linker's --wrap. What ESP-IDF answers about its heap on this target is a constant;
 * here it is what would be left of HEAP_SIZE.
 *
 * A FreeRTOS task of this target may be suspended anywhere, and then holds the C library's locks; so signals, which are the
 * tick, are held off during each call. A thread whose task has ended still runs for a moment beside the next one, hence the
 * lock. A block carries its length in front.
 *
 * SPDX-License-Identifier: MIT
 */
#include "heap.h"

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HEAD   ((sizeof(struct head) + 15) / 16 * 16)
#define MARKED UINT32_C(0x6d6c6870)
/** Stacks have four or eight times their size on a chip, so it is more than any chip has. */
#define HEAP_SIZE ((size_t)2 << 20)

void *__real_malloc(size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *p, size_t len);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);
StackType_t *__real_pxPortInitialiseStack(StackType_t *top, StackType_t *end, TaskFunction_t code, void *arg);
StackType_t *__wrap_pxPortInitialiseStack(StackType_t *top, StackType_t *end, TaskFunction_t code, void *arg);
size_t __wrap_heap_caps_get_free_size(uint32_t caps);
size_t __wrap_heap_caps_get_minimum_free_size(uint32_t caps);
size_t __wrap_heap_caps_get_largest_free_block(uint32_t caps);

struct head {
    struct head *next, *prev;
    size_t len;
    uint32_t mark;
};

static struct head all = {.next = &all, .prev = &all};
static size_t used, peak, most, blocks;
static int fail_in;
static bool fail_all, making_task;

/** With signals held off. */
static bool may_allocate(void)
{
    if (fail_in == 0 || making_task || xTaskGetSchedulerState() != taskSCHEDULER_RUNNING) {
        return true;
    }
    const char *task = pcTaskGetName(NULL);
    if (strcmp(task, "microlink") != 0 && strcmp(task, "main") != 0) {
        return true;
    }
    if (fail_in > 1) {
        fail_in--;
        return true;
    }
    fail_in = fail_all ? 1 : 0;
    return false;
}

static atomic_flag is_held = ATOMIC_FLAG_INIT;

static void hold(sigset_t *old)
{
    sigset_t any;
    sigfillset(&any);
    pthread_sigmask(SIG_BLOCK, &any, old);
    while (atomic_flag_test_and_set(&is_held)) {
        sched_yield();
    }
}

static void let(const sigset_t *old)
{
    atomic_flag_clear(&is_held);
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

void *__wrap_malloc(size_t len)
{
    sigset_t old;
    hold(&old);
    struct head *h = may_allocate() ? __real_malloc(len + HEAD) : NULL;
    if (h != NULL) {
        *h = (struct head){&all, all.prev, len, MARKED};
        all.prev->next = h;
        all.prev = h;
        used += len;
        blocks++;
        peak = used > peak ? used : peak;
        most = used > most ? used : most;
    }
    let(&old);
    return h != NULL ? (char *)h + HEAD : NULL;
}

void *__wrap_calloc(size_t count, size_t len)
{
    void *p = len != 0 && count > SIZE_MAX / 2 / len ? NULL : __wrap_malloc(count * len);
    return p != NULL ? memset(p, 0, count * len) : NULL;
}

char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy != NULL ? strcpy(copy, text) : NULL;
}

void __wrap_free(void *p)
{
    sigset_t old;
    if (p == NULL) {
        return;
    }
    struct head *h = (struct head *)((char *)p - HEAD);
    hold(&old);
    if (h->mark == MARKED) {
        h->mark = 0;
        h->prev->next = h->next;
        h->next->prev = h->prev;
        used -= h->len;
        blocks--;
        __real_free(h);
    } else {
        __real_free(p); /* Of the C library. */
    }
    let(&old);
}

void *__wrap_realloc(void *p, size_t len)
{
    if (p == NULL) {
        return __wrap_malloc(len);
    }
    size_t was = ((struct head *)((char *)p - HEAD))->len;
    void *q = __wrap_malloc(len);
    if (q != NULL) {
        memcpy(q, p, was < len ? was : len);
        __wrap_free(p);
    }
    return q;
}

size_t heap_used(void)
{
    return used;
}

size_t heap_blocks(void)
{
    return blocks;
}

size_t heap_peak(void)
{
    return peak;
}

void heap_print(size_t least)
{
    sigset_t old;
    hold(&old);
    for (const struct head *h = all.next; h != &all; h = h->next) {
        if (h->len >= least) {
            printf("block: %zu\n", h->len);
        }
    }
    let(&old);
}

size_t __wrap_heap_caps_get_free_size(uint32_t caps)
{
    (void)caps;
    return HEAP_SIZE - used;
}

size_t __wrap_heap_caps_get_minimum_free_size(uint32_t caps)
{
    (void)caps;
    return HEAP_SIZE - most;
}

size_t __wrap_heap_caps_get_largest_free_block(uint32_t caps)
{
    (void)caps;
    return HEAP_SIZE - used;
}

/* The host's threads: this target does not look whether there was memory for what a chip does not have. */
StackType_t *__wrap_pxPortInitialiseStack(StackType_t *top, StackType_t *end, TaskFunction_t code, void *arg)
{
    making_task = true;
    StackType_t *stack = __real_pxPortInitialiseStack(top, end, code, arg);
    making_task = false;
    return stack;
}

void heap_fail(int nth, bool all)
{
    sigset_t old;
    hold(&old);
    fail_in = nth;
    fail_all = all;
    let(&old);
}

int heap_fail_left(void)
{
    return fail_in;
}

void heap_mark(void)
{
    peak = used;
}
