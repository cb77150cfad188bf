/*
 * Look-ups in threads (see resolver.h).
 *
 * A look-up is owned by two sides, loop and thread; the last to let go frees it. The thread tells that it is done by
 * sending one byte over a duplicate of the socket pair that it owns, so it never touches the resolver itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "resolver.h"

#include "udp.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** getaddrinfo() with its NSS modules needs more than the minimum; 128 KB is touched only as far as it is used. */
#define THREAD_STACK (128 * 1024)

struct ml_lookup {
    char host[256];
    uint32_t token;
    ml_resolved_fn fn;
    void *ctx;
    int wake_fd;
    ml_ip ips[ML_RESOLVER_ADDRS];
    size_t count;
    atomic_bool done;
    atomic_int owners;
};

static void release(struct ml_lookup *l)
{
    if (atomic_fetch_sub(&l->owners, 1) == 1) {
        free(l);
    }
}

static void *run(void *arg)
{
    struct ml_lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    if (getaddrinfo(l->host, NULL, &hints, &list) == 0) {
        for (struct addrinfo *i = list; i != NULL && l->count < ML_RESOLVER_ADDRS; i = i->ai_next) {
            if (i->ai_family == AF_INET || i->ai_family == AF_INET6) {
                l->ips[l->count++] = ml_sys_addr(i->ai_addr).ip;
            }
        }
        freeaddrinfo(list);
    }
    int fd = l->wake_fd;
    atomic_store(&l->done, true);
    release(l);
    char byte = 0;
    (void)send(fd, &byte, 1, MSG_NOSIGNAL); /* A full buffer wakes the loop as well; a closed one has nobody to wake. */
    close(fd);
    return NULL;
}

static void on_pipe(void *ctx, short revents)
{
    (void)revents;
    struct ml_resolver *r = ctx;
    char buf[64];
    while (read(r->pipe[0], buf, sizeof buf) > 0) {
    }
    for (size_t i = 0; i < ML_RESOLVER_SLOTS; i++) {
        struct ml_lookup *l = r->lookup[i];
        if (l != NULL && atomic_load(&l->done)) {
            r->lookup[i] = NULL;
            l->fn(l->ctx, l->token, l->ips, l->count);
            release(l);
        }
    }
}

bool ml_resolver_open(struct ml_resolver *r, struct ml_loop *loop)
{
    *r = (struct ml_resolver){.loop = loop, .pipe = {-1, -1}, .slot = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, r->pipe) != 0 || ml_sys_prepare_fd(r->pipe[0]) != 0 ||
        ml_sys_prepare_fd(r->pipe[1]) != 0) {
        return false;
    }
    r->slot = ml_loop_add(loop, r->pipe[0], POLLIN, on_pipe, r);
    return r->slot >= 0;
}

void ml_resolver_close(struct ml_resolver *r)
{
    if (r->loop == NULL) {
        return;
    }
    for (size_t i = 0; i < ML_RESOLVER_SLOTS; i++) {
        if (r->lookup[i] != NULL) {
            release(r->lookup[i]);
            r->lookup[i] = NULL;
        }
    }
    ml_loop_remove(r->loop, r->slot);
    for (int i = 0; i < 2; i++) {
        if (r->pipe[i] >= 0) {
            close(r->pipe[i]);
        }
    }
    r->loop = NULL;
}

static bool start_thread(struct ml_lookup *l)
{
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    bool ok = pthread_create(&thread, &attr, run, l) == 0;
    pthread_attr_destroy(&attr);
    return ok;
}

bool ml_resolver_start(struct ml_resolver *r, const char *host, uint32_t token, ml_resolved_fn fn, void *ctx)
{
    size_t slot = 0;
    while (slot < ML_RESOLVER_SLOTS && r->lookup[slot] != NULL) {
        slot++;
    }
    if (slot == ML_RESOLVER_SLOTS || strlen(host) >= sizeof r->lookup[0]->host) {
        return false;
    }
    struct ml_lookup *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return false;
    }
    memcpy(l->host, host, strlen(host) + 1);
    l->token = token;
    l->fn = fn;
    l->ctx = ctx;
    atomic_init(&l->owners, 2);
    l->wake_fd = fcntl(r->pipe[1], F_DUPFD_CLOEXEC, 3);
    if (l->wake_fd < 0 || !start_thread(l)) {
        if (l->wake_fd >= 0) {
            close(l->wake_fd);
        }
        free(l);
        return false;
    }
    r->lookup[slot] = l;
    return true;
}

void ml_resolver_cancel(struct ml_resolver *r, const void *ctx, uint32_t token)
{
    for (size_t i = 0; i < ML_RESOLVER_SLOTS; i++) {
        struct ml_lookup *l = r->lookup[i];
        if (l != NULL && l->ctx == ctx && l->token == token) {
            r->lookup[i] = NULL;
            release(l);
        }
    }
}
