/*
 * The little of POSIX that the examples ask for, so that their sources run here unchanged: environment and arguments come from
 * the boot configuration, memory from the arena, and sleep() is what it is on a battery: off, and then a reset.
 *
 * SPDX-License-Identifier: MIT
 */
#include "arena.h"
#include "board/board.h"
#include "boot_config.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ARGS_MAX 6

int board_args(char ***argv)
{
    static char text[96], *words[ARGS_MAX + 1];
    static char program[] = "example";
    int count = 0;
    words[count++] = program;
    if (ml_boot_get("args", 0, text, sizeof text)) {
        char *rest = text;
        for (char *w; count < ARGS_MAX && (w = strtok_r(rest, " ", &rest)) != NULL;) {
            words[count++] = w;
        }
    }
    *argv = words;
    return count;
}

/** The examples read the key and the server; everything else they have defaults for. */
char *getenv(const char *name)
{
    static char key[128], url[128];
    if (strcmp(name, "TS_AUTHKEY") == 0) {
        return ml_boot_get("auth_key", 0, key, sizeof key) ? key : NULL;
    }
    if (strcmp(name, "ML_LOGIN_SERVER") == 0) {
        return ml_boot_get("control_url", 0, url, sizeof url) ? url : NULL;
    }
    return NULL;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    (void)fds;
    (void)count;
    board_wait(timeout_ms < 0 ? UINT64_MAX : board_time_us() + (uint64_t)timeout_ms * 1000);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    uint64_t us = clock == CLOCK_MONOTONIC ? board_time_us() : board_wall_ms() * 1000;
    *out = (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    return 0;
}

/** Deep sleep: memory is lost, and what follows is a start from the reset vector. What must last lies in flash by now. */
unsigned sleep(unsigned seconds)
{
    printf("sleeping %u s\n", seconds);
    uint64_t until = board_time_us() + (uint64_t)seconds * 1000000;
    while (board_time_us() < until) {
        board_wait(until);
    }
    board_reset();
}

void *malloc(size_t len)
{
    return ml_arena_alloc(ML_ARENA_APP, len);
}

void *calloc(size_t n, size_t len)
{
    return len != 0 && n > SIZE_MAX / len ? NULL : ml_arena_alloc(ML_ARENA_APP, n * len);
}

/** Here so that the C library's own heap stays out. A block cannot grow: nothing in these images asks for it. */
void *realloc(void *p, size_t len)
{
    return p == NULL ? malloc(len) : NULL;
}

void free(void *p)
{
    ml_arena_free(p);
}
