/*
 * Getting the driving task out of select(): one byte over lwIP's loopback.
 *
 * lwIP's own thread must not call the socket API, and a socket is not to be shared by tasks; so the byte is sent with the raw
 * API from lwIP's thread, whoever asks. Wake-ups that come before the first was noticed are merged.
 * A byte takes memory, and can get lost where lwIP has none: until the task has noticed, it does not go to sleep, and a timer sends
 * another one every 100 ms.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_WAKE_H
#define ML_ESP_WAKE_H

#include "loop.h"

/** @brief Call @p fn in lwIP's thread and return when it has run. Not from lwIP's thread itself, only between open and
 * close and with the host's lock held. False: no memory. */
bool ml_tcpip_run(void (*fn)(void *arg), void *arg);

bool ml_wake_open(struct ml_loop *loop);
void ml_wake_close(struct ml_loop *loop);
/** @brief From any task but lwIP's. Harmless when nothing is open. */
void ml_wake(void);
/** @brief Somebody asked since the task looked last: do not wait. */
bool ml_wake_is_asked(void);
/** @brief The task is awake and looks at everything after this. */
void ml_wake_noticed(void);
/** @brief From lwIP's thread. */
void ml_wake_from_tcpip(void);

/**
 * @brief Whether this task may call lwIP's sockets: each task has a semaphore for them, made at its first call, and lwIP does not
 * look whether there was memory for it.
 */
bool ml_sys_may_call_lwip(void);
/** @brief Wait until it may. */
void ml_sys_wait_for_lwip(void);

#endif
