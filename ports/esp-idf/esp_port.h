/*
 * What the parts of the ESP-IDF port need of each other beyond the headers of their own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_PORT_H
#define ML_ESP_PORT_H

#include "microlink/port.h"
#include "resolver.h"

/** @brief Hand over the look-ups that have ended. */
void ml_resolver_poll(struct ml_resolver *r);

/** @brief Times the driving task left its wait, since start: what light sleep pays for. */
uint32_t ml_port_wakes(void);
/** @brief The default log: ESP_LOGx with the tag "microlink". @p ctx unused. */
void ml_port_log_esp(void *ctx, ml_log_level level, const char *line);

#endif
