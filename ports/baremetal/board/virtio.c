/*
 * Ethernet and entropy by virtio over MMIO, legacy interface (version 1): the device's queue is one block of memory, aligned
 * to 16 bytes. Polled. The last slot is looked at first, where QEMU puts the first device.
 *
 * SPDX-License-Identifier: MIT
 */
#include "board.h"

#include <string.h>

#define SLOT0     0x10001000u
#define SLOT_LEN  0x1000u
#define SLOTS     8
#define MAGIC     0x74726976u
#define ID_NET    1u
#define ID_RNG    4u
#define ALIGN     16u
#define NET_HDR   10u
#define QUEUE_LEN 2u /* a power of two; QEMU holds back what does not fit */
#define F_NET_MAC (1u << 5)
/** A source that answers later has no entropy at the moment. */
#define RNG_PATIENCE_US 200000u
#define DESC_WRITE      2u
/** A frame is gone in 1.2 ms at 10 Mbit/s; a device that another program emulates waits for its turn on a busy machine. */
#define TX_PATIENCE_US 2000000u

enum {
    R_MAGIC = 0x00,
    R_VERSION = 0x04,
    R_DEVICE = 0x08,
    R_GUEST_FEATURES = 0x20,
    R_PAGE_SIZE = 0x28,
    R_QUEUE_SEL = 0x30,
    R_QUEUE_NUM = 0x38,
    R_QUEUE_ALIGN = 0x3c,
    R_QUEUE_PFN = 0x40,
    R_NOTIFY = 0x50,
    R_INT_STATUS = 0x60,
    R_INT_ACK = 0x64,
    R_STATUS = 0x70,
    R_CONFIG = 0x100
};

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
struct used_elem {
    uint32_t id, len;
};
/* The layout follows from QUEUE_LEN and ALIGN: `used` begins at the next multiple of ALIGN. */
struct queue {
    struct desc desc[QUEUE_LEN];
    uint16_t avail_flags;
    volatile uint16_t avail_idx;
    uint16_t avail_ring[QUEUE_LEN];
    uint16_t avail_event;
    uint8_t pad[(ALIGN - (6 + 2 * QUEUE_LEN) % ALIGN) % ALIGN];
    uint16_t used_flags;
    volatile uint16_t used_idx;
    volatile struct used_elem used_ring[QUEUE_LEN];
    uint16_t used_event;
    uint16_t seen; /* ours */
} __attribute__((aligned(ALIGN)));

_Static_assert(offsetof(struct queue, used_flags) % ALIGN == 0, "legacy virtio layout");

static struct queue rxq, txq, rngq;
static uint8_t rx_buf[QUEUE_LEN][NET_HDR + BOARD_ETH_MAX + 4] __attribute__((aligned(4)));
static uint8_t tx_buf[NET_HDR + BOARD_ETH_MAX] __attribute__((aligned(4)));
static uint32_t net, rng;
static uint64_t waited;

static volatile uint32_t *reg(uint32_t dev, uint32_t r)
{
    return (volatile uint32_t *)(uintptr_t)(dev + r);
}

static void fence(void)
{
    __asm__ volatile("fence" ::: "memory");
}

static uint32_t find(uint32_t id)
{
    for (int i = SLOTS - 1; i >= 0; i--) {
        uint32_t dev = SLOT0 + (uint32_t)i * SLOT_LEN;
        if (*reg(dev, R_MAGIC) == MAGIC && *reg(dev, R_VERSION) == 1 && *reg(dev, R_DEVICE) == id) {
            return dev;
        }
    }
    return 0;
}

static void begin(uint32_t dev, uint32_t features)
{
    *reg(dev, R_STATUS) = 0;
    *reg(dev, R_STATUS) = 1 | 2; /* seen, and we know how to drive it */
    *reg(dev, R_GUEST_FEATURES) = features;
    *reg(dev, R_PAGE_SIZE) = ALIGN;
}

static void set_queue(uint32_t dev, uint32_t n, struct queue *q)
{
    memset(q, 0, sizeof *q);
    *reg(dev, R_QUEUE_SEL) = n;
    *reg(dev, R_QUEUE_NUM) = QUEUE_LEN;
    *reg(dev, R_QUEUE_ALIGN) = ALIGN;
    *reg(dev, R_QUEUE_PFN) = (uint32_t)(uintptr_t)q / ALIGN;
}

static void offer(struct queue *q, uint16_t id)
{
    q->avail_ring[q->avail_idx % QUEUE_LEN] = id;
    fence();
    q->avail_idx++;
    fence();
}

static bool has_used(const struct queue *q)
{
    fence();
    return q->used_idx != q->seen;
}

/* ---- Waiting ---- */

uint64_t board_waited_us(void)
{
    return waited;
}

/* ---- Ethernet ---- */

bool board_eth_init(uint8_t mac[6])
{
    net = find(ID_NET);
    if (net == 0) {
        return false;
    }
    begin(net, F_NET_MAC);
    for (uint32_t i = 0; i < 6; i++) {
        mac[i] = *(volatile uint8_t *)(uintptr_t)(net + R_CONFIG + i);
    }
    set_queue(net, 0, &rxq);
    set_queue(net, 1, &txq);
    for (uint16_t i = 0; i < QUEUE_LEN; i++) {
        rxq.desc[i] = (struct desc){.addr = (uintptr_t)rx_buf[i], .len = sizeof rx_buf[i], .flags = DESC_WRITE};
        offer(&rxq, i);
    }
    *reg(net, R_STATUS) = 1 | 2 | 4;
    *reg(net, R_NOTIFY) = 0;
    return true;
}

uint8_t *board_eth_tx_buffer(void)
{
    /* There is one buffer. Whoever sends two frames in a row waits for the first, or the second would be lost. A device that was
     * waited for in vain is not waited for again until it has moved. */
    static bool is_stuck;
    uint64_t begun = 0, now = 0;
    while (txq.seen != txq.avail_idx) {
        if (has_used(&txq)) {
            txq.seen++;
            continue;
        }
        now = board_time_us();
        begun = begun == 0 ? now : begun;
        if (is_stuck || now - begun >= TX_PATIENCE_US) {
            is_stuck = true;
            break;
        }
        board_pause(begun + TX_PATIENCE_US);
    }
    waited += begun != 0 ? board_time_us() - begun : 0;
    if (txq.seen != txq.avail_idx) {
        return NULL;
    }
    is_stuck = false;
    return tx_buf + NET_HDR;
}

void board_eth_tx(size_t len)
{
    memset(tx_buf, 0, NET_HDR);
    txq.desc[0] = (struct desc){.addr = (uintptr_t)tx_buf, .len = NET_HDR + len};
    offer(&txq, 0);
    *reg(net, R_NOTIFY) = 1;
}

const uint8_t *board_eth_rx(size_t *len)
{
    *reg(net, R_INT_ACK) = *reg(net, R_INT_STATUS);
    while (has_used(&rxq)) {
        uint32_t id = rxq.used_ring[rxq.seen % QUEUE_LEN].id;
        uint32_t got = rxq.used_ring[rxq.seen % QUEUE_LEN].len;
        if (id < QUEUE_LEN && got > NET_HDR && got <= NET_HDR + BOARD_ETH_MAX) {
            *len = got - NET_HDR;
            return rx_buf[id] + NET_HDR;
        }
        board_eth_rx_done();
    }
    return NULL;
}

void board_eth_rx_done(void)
{
    uint16_t id = (uint16_t)rxq.used_ring[rxq.seen % QUEUE_LEN].id;
    rxq.seen++;
    offer(&rxq, id % QUEUE_LEN);
    *reg(net, R_NOTIFY) = 0;
}

/* ---- Entropy ---- */

static uint8_t raw[64]; /* the device writes here, whenever it has something */

static void ask_for_entropy(void)
{
    rngq.desc[0] = (struct desc){.addr = (uintptr_t)raw, .len = sizeof raw, .flags = DESC_WRITE};
    offer(&rngq, 0);
    *reg(rng, R_NOTIFY) = 0;
}

bool board_random_init(void)
{
    rng = find(ID_RNG);
    if (rng == 0) {
        return false;
    }
    begin(rng, 0);
    set_queue(rng, 0, &rngq);
    *reg(rng, R_STATUS) = 1 | 2 | 4;
    ask_for_entropy();
    return true;
}

/** Takes over what the device has written, and asks for more at once, so that it is there when it is needed. */
static size_t refill(uint8_t pool[sizeof raw])
{
    uint64_t begun = board_time_us();
    while (!has_used(&rngq) && board_time_us() - begun < RNG_PATIENCE_US) {
        board_pause(begun + RNG_PATIENCE_US);
    }
    waited += board_time_us() - begun;
    if (!has_used(&rngq)) {
        return 0;
    }
    size_t got = rngq.used_ring[rngq.seen % QUEUE_LEN].len;
    got = got < sizeof raw ? got : sizeof raw;
    rngq.seen++;
    *reg(rng, R_INT_ACK) = *reg(rng, R_INT_STATUS);
    memcpy(pool, raw, got);
    memset(raw, 0, sizeof raw);
    ask_for_entropy();
    return got;
}

bool board_random(uint8_t *buf, size_t len)
{
    static uint8_t pool[sizeof raw];
    static size_t have;
    while (len > 0) {
        if (have == 0 && (have = refill(pool)) == 0) {
            return false;
        }
        size_t n = len < have ? len : have;
        have -= n;
        memcpy(buf, pool + have, n);
        memset(pool + have, 0, n); /* each byte is given out once */
        buf += n;
        len -= n;
    }
    return true;
}
