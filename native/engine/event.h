/* Events of system calls as bytes: written by recorder and agent, read by replayer and agent (docs/trace-format.md). */
#ifndef PYRR_EVENT_H
#define PYRR_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "events.h"
#include "wire.h"

enum { NUMBERS_IN_HEAD = 3, ITEMS_OF_CALL = NUMBERS_IN_HEAD + 6 };

/* What stands before the outputs of a call. */
struct call_start {
    uint64_t number, site;
    int64_t result;
    const uint64_t *arguments;
    unsigned argument_count;
    const struct buffer *inputs; /* encoded */
    size_t input_pairs;
};

void wire_head(struct buffer *buffer, unsigned kind, pid_t task, uint64_t delta, size_t items);
void wire_call_start(struct buffer *buffer, const struct call_start *start);

/* Whether the number of such calls is the same in whatever order tasks run: it is not of those that wait for a lock, look at the
   time that this takes, serve malloc, or go on behind a signal. hunt/course.py counts them in the same way. */
static inline bool is_own_call(uint64_t number)
{
    switch (number) {
    case SYS_futex:
    case SYS_clock_gettime:
    case SYS_gettimeofday:
    case SYS_rt_sigreturn:
    case SYS_restart_syscall:
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
    case SYS_brk: return false;
    default: return true;
    }
}

/* Whether a call concerns nobody else: to be left at its entry is to be left at the next. */
static inline bool is_private_call(uint64_t number)
{
    return number == SYS_gettid || number == SYS_rt_sigprocmask || number == SYS_set_robust_list;
}

struct head {
    size_t items;
    unsigned kind;
    pid_t task;
    uint64_t delta; /* microseconds since the event before it */
};

struct call {
    uint64_t number, site, arguments[6];
    int64_t result;
    size_t argument_count;
    struct cursor inputs, outputs;
    unsigned stream;
    const uint8_t *sent; /* what went to the stream, where it never was in the task's memory */
    size_t sent_size;
};

struct head read_head(struct cursor *cursor);
/* Behind the head of a call. */
struct call read_call(struct cursor *cursor, size_t items);

/* Where the outputs of an event may be looked up: references go back from the beginning of their event, at most to that of its
   chunk. */
struct origin {
    const uint8_t *chunk, *event;
};

/* The bytes of an output, which stand here or are referred to. NULL: it is something else, and has been skipped. */
const uint8_t *read_output(struct cursor *cursor, const struct origin *origin, size_t *size);
void wire_reference(struct buffer *buffer, size_t distance, size_t size);
/* Whether all outputs are bytes; `*earliest` becomes where those lie that are referred to, if that is before it. */
bool has_plain_outputs(const struct call *call, const struct origin *origin, const uint8_t **earliest);
/* Appends an event with its outputs' bytes in the place of references. The cursor goes on behind it. */
void append_expanded(struct buffer *to, struct cursor *cursor, const uint8_t *chunk);

#endif
