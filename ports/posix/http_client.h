/*
 * One blocking HTTP/1.1 request to the control socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_HTTP_CLIENT_H
#define ML_POSIX_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ml_http_answer {
    int fd; /**< Still open after a 101, else -1. */
    int status;
    char headers[2048]; /**< Zero-terminated, with line ends. */
    uint8_t *body;      /**< Whole, chunks joined; freed by ml_http_answer_free(). */
    size_t body_len;
    bool timed_out;
};

/**
 * @brief Send a request and read the whole answer.
 * @param headers     Further header lines ending in CRLF, or NULL.
 * @param timeout_us  For everything; 0 = without end.
 * @return false when there was no answer: errno says why, or `timed_out` is set.
 */
bool ml_http_call(struct ml_http_answer *a, const char *socket_path, const char *method, const char *path, const char *headers,
                  const void *body, size_t body_len, uint64_t timeout_us);
void ml_http_answer_free(struct ml_http_answer *a);
/** @brief Value of a header of the answer. False if absent or too long. */
bool ml_http_answer_header(const struct ml_http_answer *a, const char *name, char *out, size_t cap);

#endif
