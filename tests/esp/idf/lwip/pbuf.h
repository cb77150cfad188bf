/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "lwip/netif.h"
typedef enum { PBUF_TRANSPORT, PBUF_RAW } pbuf_layer;
typedef enum { PBUF_RAM } pbuf_type;
struct pbuf *pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type);
u16_t pbuf_copy_partial(const struct pbuf *p, void *data, u16_t len, u16_t offset);
err_t pbuf_take(struct pbuf *p, const void *data, u16_t len);
u8_t pbuf_free(struct pbuf *p);
