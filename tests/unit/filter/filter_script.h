/*
 * Runs packet filter scripts: rules and packets with the verdicts of the official filter, one line each.
 *
 *   # comment
 *   F shields prefix prefix...        a new filter: shields up (0 or 1), local networks
 *   S name                            a named set begins
 *   R srcs;dsts;protos                one rule: prefixes; net,first,last...; numbers (none: matches no protocol)
 *   E                                 the set ends
 *   I<A|D>hex, O<A|D>hex              a packet in or out, to be accepted or dropped
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_FILTER_SCRIPT_H
#define ML_TEST_FILTER_SCRIPT_H

#include "filter/filter.h"
#include <stdio.h>
#include <stdlib.h>

struct filter_script {
    struct ml_filter filter;
    void *mem;
    unsigned long packets, accepted, wrong, bad_lines;
    char first_wrong[512];
};

static void filter_script_init(struct filter_script *s)
{
    struct ml_filter_cfg cfg = {.max_entries = 4096, .max_flows = 512};
    memset(s, 0, sizeof *s);
    s->mem = malloc(ml_filter_mem(&cfg));
    if (!s->mem) {
        abort();
    }
    ml_filter_init(&s->filter, &cfg, s->mem);
}

static void filter_script_end(struct filter_script *s)
{
    free(s->mem);
    s->mem = NULL;
}

/* The next word of *p up to `stop` (or the end), or false when there is none. */
static bool script_word(const char **p, char stop, const char **word, size_t *len)
{
    while (**p == ' ') {
        ++*p;
    }
    if (**p == 0 || **p == stop) {
        return false;
    }
    *word = *p;
    while (**p && **p != ' ' && **p != stop) {
        ++*p;
    }
    *len = (size_t)(*p - *word);
    return true;
}

static bool script_filter(struct filter_script *s, const char *p)
{
    ml_prefix nets[ML_FILTER_LOCALS];
    size_t count = 0;
    const char *word = NULL;
    size_t len = 0;
    bool shields = p[0] == '1';

    p++;
    while (script_word(&p, 0, &word, &len)) {
        if (count == ML_FILTER_LOCALS || !ml_prefix_parse(word, len, &nets[count++])) {
            return false;
        }
    }
    ml_filter_clear(&s->filter);
    ml_filter_set_shields_up(&s->filter, shields);
    return ml_filter_set_locals(&s->filter, nets, count) == count;
}

static bool script_rule(struct filter_script *s, const char *p)
{
    static ml_prefix srcs[512];
    static struct ml_rule_dst dsts[512];
    size_t src_count = 0;
    size_t dst_count = 0;
    const char *word = NULL;
    size_t len = 0;
    struct ml_rule r = {.has_protos = true};

    while (script_word(&p, ';', &word, &len)) {
        if (src_count == 512 || !ml_prefix_parse(word, len, &srcs[src_count++])) {
            return false;
        }
    }
    p += *p == ';';
    while (script_word(&p, ';', &word, &len)) {
        const char *comma = memchr(word, ',', len);
        unsigned first = 0;
        unsigned last = 0;
        if (dst_count == 512 || !comma || sscanf(comma, ",%u,%u", &first, &last) != 2 ||
            !ml_prefix_parse(word, (size_t)(comma - word), &dsts[dst_count].net)) {
            return false;
        }
        dsts[dst_count].port_first = (uint16_t)first;
        dsts[dst_count++].port_last = (uint16_t)last;
    }
    p += *p == ';';
    while (script_word(&p, 0, &word, &len)) {
        if (r.proto_count == ML_RULE_PROTOS) {
            return false;
        }
        r.protos[r.proto_count++] = (uint8_t)atoi(word);
    }
    for (size_t i = 0; i < src_count; i += ML_RULE_SRCS) {
        for (size_t k = 0; k < dst_count; k += ML_RULE_DSTS) {
            r.src_count = (uint8_t)(src_count - i < ML_RULE_SRCS ? src_count - i : ML_RULE_SRCS);
            r.dst_count = (uint8_t)(dst_count - k < ML_RULE_DSTS ? dst_count - k : ML_RULE_DSTS);
            memcpy(r.srcs, srcs + i, r.src_count * sizeof srcs[0]);
            memcpy(r.dsts, dsts + k, r.dst_count * sizeof dsts[0]);
            if (ml_filter_apply(&s->filter, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &r}) != ML_DROP_NONE) {
                return false;
            }
        }
    }
    return true;
}

static bool script_packet(struct filter_script *s, const char *line)
{
    uint8_t buf[256];
    size_t len = strlen(line + 2) / 2;
    struct ml_ip_view v;

    if (len > sizeof buf || !ml_hex_parse(line + 2, strlen(line + 2), buf, len)) {
        return false;
    }
    /* At the end of the buffer, so that a sanitizer sees a read past it. */
    uint8_t *packet = buf + sizeof buf - len;
    memmove(packet, buf, len);
    ml_ip_view_parse(&v, packet, len);
    ml_drop verdict = line[0] == 'I' ? ml_filter_in(&s->filter, &v, false) : ml_filter_out(&s->filter, &v, false);
    s->packets++;
    s->accepted += verdict == ML_DROP_NONE;
    if ((verdict == ML_DROP_NONE) != (line[1] == 'A')) {
        if (s->wrong++ == 0) {
            snprintf(s->first_wrong, sizeof s->first_wrong, "%.400s: we say %d", line, (int)verdict);
        }
    }
    return true;
}

/* One line without its newline. */
static void filter_script_line(struct filter_script *s, const char *line)
{
    bool ok = true;

    switch (line[0]) {
    case '#':
    case 0:
        break;
    case 'F':
        ok = script_filter(s, line + 2);
        break;
    case 'S':
        ok = ml_filter_apply(&s->filter, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = line + 2}) == ML_DROP_NONE;
        break;
    case 'R':
        ok = script_rule(s, line + 2);
        break;
    case 'E':
        ok = ml_filter_apply(&s->filter, &(struct ml_delta){.type = ML_DELTA_RULES_END}) == ML_DROP_NONE;
        break;
    case 'I':
    case 'O':
        ok = script_packet(s, line);
        break;
    default:
        ok = false;
    }
    s->bad_lines += !ok;
}

/* A whole stream of lines. */
static void filter_script_run(struct filter_script *s, FILE *in)
{
    static char line[65536];

    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = 0;
        filter_script_line(s, line);
    }
}

#endif
