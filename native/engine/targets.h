/* Where code may lead, or what it may look at, by a displacement of four bytes: looked for at every byte, since what is an
   instruction and what is not is not known. */
#ifndef PYRR_TARGETS_H
#define PYRR_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

/* Appends to `found` those of `wanted` (sorted) that code which begins at the address `base` calls, jumps to or takes the address
   of, and to `taken` all others whose address it takes, if they are multiples of four; some more than once. */
void find_targets(const uint8_t *code, size_t size, uint64_t base, const uint64_t *wanted, size_t count, struct buffer *found, struct buffer *taken);

/* Appends those of `wanted` that are among 8-byte words. */
void find_words(const uint8_t *data, size_t size, const uint64_t *wanted, size_t count, struct buffer *found);

/* 4-byte words, the first of which lies at the address `start`, and what bounds tables in them: an entry is a distance from its
   table's beginning to code from `lowest` up to `highest`, and a table ends where that is not so. */
struct tables {
    const uint8_t *words;
    size_t count;
    uint64_t start, lowest, highest;
    size_t longest, most; /* entries of a table, and of all */
};

/* Appends those of `wanted` that entries of the tables at some addresses stand for. False: there are more than `most`. */
bool find_entries(const struct tables *tables, const uint64_t *addresses, size_t address_count, const uint64_t *wanted, size_t count, struct buffer *found);

#endif
