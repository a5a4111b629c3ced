/* A checksum of memory by page, which names the page that differs and, where one word differs, that word. */
#ifndef PYRR_CHECKSUM_H
#define PYRR_CHECKSUM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

/* What the trace stores of a page that is not all zero. `sum` and `weighted` are taken modulo 2^64 over the 512
   words: sum(w[i]) and sum((i + 1) * w[i]). If exactly one word differs by d, the differences of the two are d and
   (i + 1) * d, which gives back the index and the recorded word. */
struct page_sum {
    uint64_t address, hash, sum, weighted;
};

/* Appends the sums of the nonzero pages of [start, end); `sparse` skips pages that were never touched (anonymous
   memory only: an untouched page of a file is not zero). Where `start` is within a page, what precedes it counts as
   zero. False for an impossible range. */
bool checksum_range(pid_t pid, uint64_t start, uint64_t end, bool sparse, struct buffer *sums);

#endif
