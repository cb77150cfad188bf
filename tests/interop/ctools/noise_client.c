/*
 * A ts2021 client on stdin and stdout: handshake, then every plaintext byte comes back as it arrived.
 *
 * Usage: noise_client SERVER_KEY_HEX VERSION READ_SIZE RECORD_SIZE
 * READ_SIZE bytes at most are read and fed at a time, RECORD_SIZE of plaintext at most go into one record. Says on stderr in
 * one line how it ended. Runs the real code of src/noise; the I/O is here.
 *
 * SPDX-License-Identifier: MIT
 */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bytes.h"
#include "noise/noise_frame.h"
#include "noise/noise_ik.h"

static void fill_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    if (getrandom(buf, len, 0) != (ssize_t)len) {
        abort();
    }
}

static void write_all(const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(1, p, n);
        if (done <= 0) {
            exit(3);
        }
        p += done;
        n -= (size_t)done;
    }
}

/* Sends back all plaintext that waits. */
static void echo(struct ml_noise_conn *conn, size_t record_size)
{
    const uint8_t *p;
    size_t n;
    while ((n = ml_noise_conn_peek(conn, &p)) > 0) {
        uint8_t record[ML_NOISE_FRAME_MAX];
        n = n < record_size ? n : record_size;
        size_t len = ml_noise_conn_seal(conn, record, sizeof record, p, n);
        if (len == 0) {
            exit(4);
        }
        write_all(record, len);
        ml_noise_conn_consume(conn, n);
    }
}

int main(int argc, char **argv)
{
    static struct ml_noise_ik ik;
    static struct ml_noise_conn conn;
    const ml_random rng = {fill_random, NULL};
    ml_machine_key server;
    ml_private_key machine;
    uint8_t initiation[ML_NOISE_INITIATION_LEN];
    uint8_t buf[8192];
    if (argc != 5 || !ml_crypto_init() || !ml_hex_parse(argv[1], strlen(argv[1]), server.b, 32)) {
        return 2;
    }
    uint16_t version = (uint16_t)strtoul(argv[2], NULL, 10);
    size_t read_size = strtoul(argv[3], NULL, 10);
    size_t record_size = strtoul(argv[4], NULL, 10);
    ml_x25519_keygen(&machine, &rng);
    ml_noise_ik_begin(&ik, version, &machine, &server);
    if (ml_noise_ik_initiate(&ik, &rng, initiation, NULL) != ML_CURVE_DONE) {
        return 2;
    }
    write_all(initiation, sizeof initiation);

    bool is_up = false;
    ssize_t got;
    while ((got = read(0, buf, read_size < sizeof buf ? read_size : sizeof buf)) > 0) {
        size_t pos = 0;
        size_t used;
        if (!is_up) {
            enum ml_noise_ik_result r = ml_noise_ik_feed(&ik, buf, (size_t)got, &used, NULL);
            pos = used;
            if (r == ML_NOISE_IK_REFUSED) {
                fprintf(stderr, "refused: %s\n", ik.u.error_text);
                return 1;
            }
            if (r == ML_NOISE_IK_BAD_AUTH || r == ML_NOISE_IK_BAD_FRAME) {
                fprintf(stderr, "handshake failed: %s\n",
                        r == ML_NOISE_IK_BAD_AUTH ? "it does not authenticate" : "it is no response");
                return 1;
            }
            if (r == ML_NOISE_IK_MORE) {
                continue;
            }
            ml_noise_conn_init(&conn, ik.tx_key, ik.rx_key);
            ml_noise_ik_clear(&ik);
            is_up = true;
        }
        while (pos < (size_t)got) {
            if (ml_noise_conn_feed(&conn, buf + pos, (size_t)got - pos, &used) != ML_NOISE_OK) {
                fprintf(stderr, "record error: %d\n", (int)ml_noise_conn_error(&conn));
                return 1;
            }
            pos += used;
            echo(&conn, record_size);
        }
    }
    fprintf(stderr, "%s\n", is_up ? "closed" : "closed during the handshake");
    ml_noise_conn_clear(&conn);
    return 0;
}
