/* Declarations for a syntax check, see ../README.md. What Kconfig would have written. SPDX-License-Identifier: MIT */
#pragma once
#define CONFIG_MICROLINK_AUTH_KEY              ""
#define CONFIG_MICROLINK_DEVICE_NAME           ""
#define CONFIG_MICROLINK_CONTROL_URL           ""
#define CONFIG_MICROLINK_CONTROL_KEY           ""
#define CONFIG_MICROLINK_NVS_NAMESPACE         "microlink"
#define CONFIG_MICROLINK_MAX_PEERS             16
#define CONFIG_MICROLINK_MAX_SESSIONS          16
#define CONFIG_MICROLINK_MAX_DERP              1
#define CONFIG_MICROLINK_MAX_REGIONS           16
#define CONFIG_MICROLINK_OUT_QUEUE_BYTES       4096
#define CONFIG_MICROLINK_STREAM_TX_BYTES       2048
#define CONFIG_MICROLINK_HEARTBEAT_INTERVAL_MS 25000
#define CONFIG_MICROLINK_DATA_PORT             5055
#define CONFIG_MICROLINK_RX_QUEUE              8
#define CONFIG_MICROLINK_LOG_LEVEL             1
#define CONFIG_MICROLINK_ENABLE_DERP           1
#define CONFIG_MICROLINK_ENABLE_DISCO          1
#define CONFIG_MICROLINK_ENABLE_STUN           1
#ifdef ML_CHECK_BARE
#define CONFIG_MICROLINK_PSRAM               1
#define CONFIG_MICROLINK_CUSTOM_COORD_SERVER 1
#define CONFIG_MICROLINK_COORD_HOST          "headscale.example.com"
#define CONFIG_MICROLINK_COORD_PORT          443
#else
#define CONFIG_MICROLINK_TASK                1
#define CONFIG_MICROLINK_TASK_STACK          10240
#define CONFIG_MICROLINK_TASK_PRIORITY       5
#define CONFIG_MICROLINK_NETIF               1
#define CONFIG_MICROLINK_NETIF_QUEUE         4
#define CONFIG_MICROLINK_TLS_SESSION_TICKETS 1
#define CONFIG_MBEDTLS_CERTIFICATE_BUNDLE    1
#define CONFIG_MBEDTLS_DYNAMIC_BUFFER        1
#define CONFIG_LWIP_IPV6                     1
#endif
