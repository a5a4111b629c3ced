/* What the agent and the engine know of each other: where the agent lies in a tracee, and its state there.

   The agent is code in the tracee that makes system calls in the tracer's place. Sites that the engine has patched jump
   to it by way of a stub near them (native/engine/patch.c):

       lea after(%rip), %rcx; movabs $AGENT_TEXT, %r11; jmp *%r11; .quad SITE; syscall
       after: instructions moved from the site; jmp back

   rcx and r11 are the two registers that a system call changes anyhow. While recording the hook makes the call and writes its
   event to the ring; in replay it takes the event from the ring. Where it cannot, it goes on at the stub's `syscall`, with all
   registers as they were, which stops in the tracer.

   One task runs at a time and is switched away from only at that stop: so one state, one stack and one ring serve all tasks of an
   address space. */
#ifndef PYRR_AGENT_H
#define PYRR_AGENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "layout.h"

#define AGENT_TEXT ((uint64_t)AGENT_PLACE)
#define AGENT_TEXT_LIMIT UINT64_C(0x40000)
/* Where ticking entries of dispatch tables lead, as traces have it. */
#define AGENT_TICKS (AGENT_TEXT + 0x20000)
#define AGENT_STATE ((uint64_t)STATE_PLACE)
#define AGENT_RING (AGENT_STATE + 0x20000)
#define AGENT_RING_LIMIT UINT64_C(0x100000)
#define AGENT_END (AGENT_RING + AGENT_RING_LIMIT)

/* Outputs of fewer bytes are always written out. */
enum { REFERENCE_LEAST = 64, HINTS = 256 };

enum { AGENT_STACK_BYTES = 0x10000, AGENT_WATCHED = 16, AGENT_STREAMS = 256, AGENT_RANGES = 1056, AGENT_CODES = 64, AGENT_SIGNALS = 65, STUB_SITE = 10 /* bytes before `after` */, STUB_AFTER = 30 /* bytes behind the instructions moved before it */ };

enum { JUMP = 0xe9, JUMP_BYTES = 5 };

/* One for each ticking place, at AGENT_TICKS; `stop` is what a trap leaves as the instruction pointer:

       sub $1, counter; js stop; jmp *target; stop: int3; word: .7byte WORD; target: .quad TARGET */
enum { TICK_BYTES = 32, TICK_STOP = 17, TICK_WORD = 17, TICK_TARGET = 24, TICKS = 4096 };

enum agent_mode { AGENT_RECORDS, AGENT_REPLAYS };

/* Offsets from AGENT_TEXT of places in the agent's code; they stand behind the jump at its beginning. */
struct agent_places {
    uint64_t magic;
    uint32_t checks;      /* from here up to `calls` a call that has not begun can be called off: go back to `checks` */
    uint32_t calls;       /* the syscall instruction of buffered calls */
    uint32_t traced;      /* the one at which the tracer lets traced calls run */
    uint32_t flush;       /* asks the tracer to empty the ring */
    uint32_t report;      /* asks it to record the call whose result is in the state */
    uint32_t copy;        /* may fault on the program's pointers; then goes on at `copied` */
    uint32_t copied;
    uint32_t compare;     /* the same, from here up to `compared` */
    uint32_t compared;
    uint32_t ends;        /* from here up to `ended` the call has been dealt with: all that the program goes on with is in the frame */
    uint32_t ended;
    uint32_t size;        /* of the whole image */
};

#define AGENT_MAGIC UINT64_C(0x31746e6567617279)

struct agent_file {
    uint64_t device, inode;
};

/* Ticks of one task's way from one event to its next one: `base` is the counter at the last event. The counter goes down, and
   stops the task when it is below zero. It lies where trampolines in traces look for it. */
struct agent_clock {
    int64_t counter, base;
};

/* The counter of a task that is not to stop. */
#define CLOCK_AT_REST (INT64_C(1) << 62)

/* What the tracer tells the agent. */
struct agent_terms {
    uint32_t mode;
    pid_t task;
    uint32_t attention;  /* the next call is to stop (layout.h) */
    uint32_t alone;      /* no other task lives: calls may sleep */
    uint32_t ring_bytes;
    uint32_t watched_count; /* over AGENT_WATCHED: every write stops */
    uint64_t budget;     /* events in the ring, at which the next call is to stop */
    uint64_t own_budget; /* own calls (is_own_call), behind which the next one is to stop */
    uint64_t start;      /* nanoseconds of CLOCK_MONOTONIC at event 0 */
    struct agent_file stream[3]; /* the recorder's stdout and stderr; device 0: none */
    struct agent_file watched[AGENT_WATCHED];
    uint8_t streams[AGENT_STREAMS]; /* which descriptors are these, kept up to date by the agent */
};

/* The registers of the program at the site; pushed by entry.S in this order. `after` is the address in the stub. */
struct agent_frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, r9, r8, r10, rdx, rsi, rdi, rax, after, flags, rsp;
};

/* Read by the tracer at every stop, and written before the task goes on. */
struct agent_account {
    /* Bytes in the ring, and events in them; in replay, that are offered. Stored at once: the tracer may look at any time. */
    union {
        struct {
            uint32_t size, count;
        };
        uint64_t filled;
    };
    uint64_t consumed; /* in replay: bytes and events taken */
    uint64_t consumed_count;
    uint64_t mask;     /* blocked signals */
    uint64_t clear_child_tid, robust_list; /* what the kernel writes to when the task ends */
    uint64_t last_time; /* microseconds of the last event */
    int64_t result;    /* of a call to be reported */
    uint64_t streams_changed;
    uint64_t actions_changed; /* bit n-1: that of signal n */
    uint64_t own;      /* calls in the ring that are the task's own */
    int64_t own_at;    /* the clock's counter at the last of them */
};

/* The kernel's struct sigaction is not libc's (arch/x86/include/uapi/asm/signal.h). */
struct kernel_sigaction {
    uint64_t handler, flags, restorer, mask;
};

struct agent_range {
    uint64_t start, end;
};

struct agent_state {
    struct agent_clock clock;
    struct agent_account account;
    struct agent_terms terms;
    uint64_t target, rsp; /* where the hook goes on, and the program's stack: for entry.S */
    uint64_t inputs_size, input_pairs; /* of the call that is being made, in `scratch` */
    _Alignas(4096) uint8_t stack[AGENT_STACK_BYTES]; /* the frame is at its top */
    uint8_t scratch[0x4000]; /* inputs */
    struct kernel_sigaction actions[AGENT_SIGNALS]; /* that the program has set */
    uint64_t code_count;                            /* over AGENT_CODES: memory calls stop */
    struct agent_range code[AGENT_CODES];           /* mapped from files, written by the tracer */
    struct iovec ranges[AGENT_RANGES];
    uint32_t hints[HINTS]; /* where in the ring the last output to such an address may lie */
};

#define AGENT_FRAME_OFFSET (offsetof(struct agent_state, stack) + AGENT_STACK_BYTES - sizeof(struct agent_frame))

_Static_assert(sizeof(struct agent_frame) == 16 * 8, "pushed by entry.S");
_Static_assert(AGENT_STATE + sizeof(struct agent_state) <= AGENT_RING, "the ring lies behind the state");
_Static_assert(AGENT_TEXT + AGENT_TEXT_LIMIT <= AGENT_STATE, "the state lies behind the text");
_Static_assert(AGENT_TICKS + TICKS * TICK_BYTES <= AGENT_TEXT + AGENT_TEXT_LIMIT, "trampolines lie behind the text");
_Static_assert(offsetof(struct agent_state, clock.counter) == 0, "docs/trace-format.md");

#endif
