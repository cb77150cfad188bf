/*
 * The engine's streams over lwIP's raw TCP: look up, connect, TLS, then bytes both ways with back-pressure. IPv4 only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_STREAM_H
#define ML_BAREMETAL_STREAM_H

#include "microlink/engine.h"

/** Control, its successor, and two relays. */
#define ML_STREAMS 4

void ml_streams_init(ml_engine *engine);
void ml_streams_open(ml_time now, const ml_stream_open *open);
void ml_streams_close(ml_stream_id id);
void ml_streams_close_all(void);
/** @brief Time-outs; TLS handshakes go on, one at a time. @return true when a step of one was done. */
bool ml_streams_on_time(ml_time now);
/** @brief Moves bytes between engine and stack, no more after @p until. @return true when something moved: drain the engine again. */
bool ml_streams_pump(ml_time now, ml_time until);
/** @brief Only writes what the engine has, for instance a relayed packet, so that there is room for the next. */
void ml_streams_write(ml_time now);
/** @param now  A stream with work to do at once is due then. */
ml_time ml_streams_deadline(ml_time now);
/** @brief Answer ML_OUT_RESOLVE: from the boot configuration or by DNS. */
void ml_streams_resolve(ml_time now, uint32_t token, const char *name);

#endif
