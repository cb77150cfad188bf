/*
 * What the files of filter/ share and nobody else uses: the kinds of pool entries, and walking over the rules in effect.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_FILTER_PRIVATE_H
#define ML_FILTER_PRIVATE_H

#include "filter/filter.h"
#include "filter/flow.h"

enum { ML_ENTRY_RULE, ML_ENTRY_SOURCE, ML_ENTRY_DEST };

/* `head` is the rule's first entry: port_first sources follow it, then port_last destinations. */
bool ml_filter_next_rule(const struct ml_filter *f, struct ml_filter_cursor *c);

static inline ml_prefix ml_filter_entry_prefix(const struct ml_filter_entry *e)
{
    ml_prefix net = {.bits = e->bits};
    memcpy(net.ip.b, e->b, 16);
    return net;
}

void ml_filter_clear_rules(struct ml_filter *f);

#endif
