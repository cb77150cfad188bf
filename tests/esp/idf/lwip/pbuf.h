/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "lwip/netif.h"
typedef enum { PBUF_TRANSPORT, PBUF_RAW } pbuf_layer;
typedef enum { PBUF_RAM } pbuf_type;
struct pbuf *pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type);
struct pbuf *pbuf_clone(pbuf_layer layer, pbuf_type type, struct pbuf *p);
err_t pbuf_take(struct pbuf *p, const void *data, u16_t len);
u8_t pbuf_free(struct pbuf *p);
