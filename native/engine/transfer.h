/* The memory that a system call reads and writes, by its row in the specification. */
#ifndef PYRR_TRANSFER_H
#define PYRR_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "syscall_table.h"
#include "wire.h"

/* Bytes kept of an input buffer that is longer than WHOLE_INPUT: enough for `dump` to show and for replay to compare. */
enum { INPUT_PREFIX = 64, WHOLE_INPUT = 128, STRING_LIMIT = 4096, CONSERVATIVE_LIMIT = 16384 };

/* Pieces of a task's memory; a failed allocation leaves it short and sets `failed`. */
struct ranges {
    struct iovec *item;
    size_t count, capacity, total;
    bool failed;
};

/* On the heap in the engine, in its scratch memory in the agent. False: no room. */
bool ranges_grow(struct ranges *ranges);
void ranges_free(struct ranges *ranges);

/* The row of a call: that of its command where the call is multiplexed. NULL for an unknown number. */
const struct syscall_row *row_of(uint64_t number, const uint64_t arguments[6]);

/* Clears the upper half of the arguments of which the kernel looks at the lower one only. */
void narrow_arguments(const struct syscall_row *row, uint64_t arguments[6]);

/* Appends the recorded inputs as msgpack (address, bytes) pairs to `to`; returns the number of pairs. */
size_t transfer_inputs(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], struct buffer *to);

/* Collects what the call has written. */
void transfer_outputs(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], int64_t result,
                      struct ranges *ranges);

/* Collects all that a call which has not returned may write. */
void transfer_room(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], struct ranges *ranges);

/* Collects the data that a WRITE call sent through its descriptor, `result` bytes of it. */
void transfer_sent(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], int64_t result,
                   struct ranges *ranges);

#endif
