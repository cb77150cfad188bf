/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
void ml_check_log(const char *tag, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define ESP_LOGE(tag, ...) ml_check_log(tag, __VA_ARGS__)
#define ESP_LOGW(tag, ...) ml_check_log(tag, __VA_ARGS__)
#define ESP_LOGI(tag, ...) ml_check_log(tag, __VA_ARGS__)
#define ESP_LOGD(tag, ...) ml_check_log(tag, __VA_ARGS__)
#define ESP_LOGV(tag, ...) ml_check_log(tag, __VA_ARGS__)
