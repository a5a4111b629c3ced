/* Where the events of a chunk lie (docs/trace-format.md), without decoding them. */
#ifndef PYRR_INDEX_H
#define PYRR_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Fills in, of each of `count` events, the offset at which it begins, and the sum of the times of those before it. Both
   arrays have one place more, for the end. False where the bytes are not just these events. */
bool index_events(const uint8_t *data, size_t size, size_t count, uint64_t *offsets, uint64_t *times);

/* Whose an event is, and which system call; its number is meaningless where it is none. */
struct outline {
    pid_t task;
    bool is_call;
    uint64_t call;
};

struct outline outline_of(const uint8_t *event, const uint8_t *end);

/* What is looked for: kinds of events, system calls by their number, and whatever wrote to stdout or stderr. */
struct wanted {
    uint64_t kinds; /* bits */
    const uint8_t *calls; /* a byte for each number */
    size_t call_count;
    bool output;
};

/* Fills in the indexes of the events that are wanted; their number. `offsets` are those of index_events. */
size_t select_events(const uint8_t *data, const uint64_t *offsets, size_t count, const struct wanted *wanted, uint32_t *found);

#endif
