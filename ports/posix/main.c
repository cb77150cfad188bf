/*
 * The program `microlink`: one binary, the node itself (`run`) and every word that talks to it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "client.h"
#include "daemon.h"
#include "microlink/version.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    static struct ml_options options;
    int status = ml_options_parse(&options, argc, argv);
    if (status >= 0) {
        return status;
    }
    switch (options.word) {
    case ML_WORD_RUN:
        return ml_daemon_run(&options);
    case ML_WORD_VERSION:
        puts(MICROLINK_VERSION);
        return 0;
    case ML_WORD_HELP:
        ml_options_usage(false);
        return 0;
    default:
        return ml_client_run(&options);
    }
}
