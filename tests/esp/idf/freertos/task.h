/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "freertos/FreeRTOS.h"
typedef struct tskTaskControlBlock *TaskHandle_t;
BaseType_t xTaskCreate(void (*fn)(void *arg), const char *name, uint32_t stack, void *arg, UBaseType_t priority,
                       TaskHandle_t *out);
void vTaskDelete(TaskHandle_t t);
void vTaskDelay(TickType_t ticks);
TaskHandle_t xTaskGetCurrentTaskHandle(void);
