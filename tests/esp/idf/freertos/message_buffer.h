/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "freertos/FreeRTOS.h"
typedef struct StreamBufferDef_t *MessageBufferHandle_t;
MessageBufferHandle_t xMessageBufferCreate(size_t bytes);
size_t xMessageBufferSend(MessageBufferHandle_t b, const void *data, size_t len, TickType_t wait);
size_t xMessageBufferReceive(MessageBufferHandle_t b, void *data, size_t cap, TickType_t wait);
void vMessageBufferDelete(MessageBufferHandle_t b);
