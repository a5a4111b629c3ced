/* Events of system calls as bytes: written by recorder and agent, read by replayer and agent (docs/trace-format.md). */
#ifndef PYRR_EVENT_H
#define PYRR_EVENT_H

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

struct head {
    size_t items;
    unsigned kind;
    pid_t task;
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

#endif
