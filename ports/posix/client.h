/*
 * The words of `microlink` that talk to the daemon over its socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_CLIENT_H
#define ML_POSIX_CLIENT_H

#include "options.h"

/** @return the process's exit status; one line on stderr when it is not 0. */
int ml_client_run(const struct ml_options *o);

#endif
