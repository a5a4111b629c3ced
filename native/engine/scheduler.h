/* Whose turn it is among tasks of which one runs at a time: states in, a decision out. Knows nothing of ptrace.

   Three policies: turns in order, each a slice of time long; chaos, which draws slices and successors from a seed; and a list
   of decisions, between which a task is left only when it sleeps. */
#ifndef PYRR_SCHEDULER_H
#define PYRR_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum task_state {
    TASK_UNKNOWN, /* seen before the event that tells whose child it is; gets no turn */
    TASK_READY,   /* stopped; may be resumed */
    TASK_PENDING, /* stopped; its stop is not handled yet */
    TASK_RUNNING,
    TASK_BLOCKED, /* in the kernel until something happens */
};

/* What lies behind the last of a task's own calls: ticks, or one of these. */
enum behind {
    AT_SLEEP = 0xf0000000, /* and above: asleep, for the n-th time */
    AT_END = 0xfffffffe,
    AT_CALL = 0xffffffff, /* at the entry of the next */
};

/* The part of a task that the scheduler sees. */
struct turn {
    pid_t tid;
    enum task_state state;
    struct turn *next;
    uint32_t number; /* in the order of their beginnings, from 0 */
    /* Where it is in its own course. It is to be found again when the program runs once more, in another order: own calls are
       those whose number does not depend on that, unlike futexes and what malloc asks for. */
    uint32_t calls, behind;
    uint32_t ticks;  /* since the last of its own calls */
    bool ticking;    /* it can be stopped at one */
    bool dull;       /* it stands at the entry of a call that concerns nobody else */
    bool held;       /* at that of a call that is to wait for another's */
    uint64_t all_ticks;
    uint32_t sleeps; /* since the last of its own calls */
    bool wakes;      /* by itself: it sleeps for a time only */
    uint32_t rank;
    uint32_t demoted; /* by a preemption, the latest one having the highest number: who has not been goes on first */
};

/* At this place in the course of a task the next turn is another's. */
struct decision {
    uint32_t task, next;
    uint64_t course;
};

struct decided {
    struct decision decision;
    pid_t from, to;   /* 0: it has ended */
    uint64_t next_at; /* where the next one is in its course */
    uint64_t event;
    bool preempts; /* else the task could not go on, and another than the next in order was chosen */
};

enum policy { POLICY_TURNS, POLICY_CHAOS, POLICY_LIST };

/* Tasks stand in the order of their turns; a turn lasts until the task blocks or its slice is over. */
struct scheduler {
    struct turn *first, *current;
    uint64_t slice, slice_start; /* nanoseconds */
    bool yielded;
    enum policy policy;
    uint32_t added;
    uint64_t until; /* the place at which the turn of the current task ends */
    uint64_t until_tick; /* or its all_ticks; 0: none */
    struct turn *wish; /* who should go on; it might sleep still */
    uint64_t patience; /* nanoseconds to wait for it */
    struct turn *heir; /* who goes on for another that could have gone on, and has not slept since */
    uint64_t idle;     /* that may be spent on waiting, in all */
    uint64_t random;
    unsigned scale;    /* slices have up to 1 << scale calls */
    unsigned tick_scale;
    unsigned disorder; /* of 4 successors of a sleeping task so many are drawn */
    bool ranked;       /* successors are not drawn: the highest rank goes on, and who has had its slice is the lowest from then on */
    uint32_t lowest, demotions;
    unsigned changes;  /* slices that are left, of ranked tasks */
    struct decision *list;
    size_t listed;
    struct decided *log;
    size_t logged, log_room;
    uint64_t event; /* the number of the next one, for the log */
    uint32_t left;  /* the task that ended in its turn, and where */
    uint64_t left_at;
};

static inline uint64_t course_of(uint32_t calls, uint32_t behind) { return (uint64_t)calls << 32 | behind; }

bool turn_can_go_on(const struct turn *turn);
/* The task has made calls of its own. */
void turn_passes(struct turn *turn, uint32_t calls);
void turn_ticks(struct turn *turn, uint64_t ticks);
/* A new task stands at the end. */
void scheduler_add(struct scheduler *scheduler, struct turn *turn);
void scheduler_remove(struct scheduler *scheduler, struct turn *turn);
struct turn *scheduler_find(const struct scheduler *scheduler, pid_t tid);
/* The current task lets others go first, once it may be switched from. */
void scheduler_yield(struct scheduler *scheduler);
/* For how many ticks a signal is still held that has come amid computation. */
uint64_t scheduler_delay(struct scheduler *scheduler);
void scheduler_be_chaotic(struct scheduler *scheduler, uint64_t seed);
/* Copies the list. False: no memory. */
bool scheduler_follow(struct scheduler *scheduler, const struct decision *list, size_t count);
void scheduler_free(struct scheduler *scheduler);
/* The own calls that the current task may make before it has to stop at the entry of one. */
uint64_t scheduler_allowance(const struct scheduler *scheduler);
/* The ticks from now at which it has to stop; 0: not before its next own call. */
uint64_t scheduler_ticks(const struct scheduler *scheduler);
/* Whether another may be chosen once the current task can be switched from. `now` is in nanoseconds. */
bool scheduler_is_over(const struct scheduler *scheduler, uint64_t now);
/* The task that should go on next, if it is not up to scheduler_choose alone: where it sleeps, it is worth waiting for, for
   `patience`. */
struct turn *scheduler_wish(struct scheduler *scheduler, uint64_t now, bool may_switch);
/* Makes the task that goes on next the current one and returns it; NULL when none can.
   `may_switch` tells that the current task stands where a switch can be recorded. */
struct turn *scheduler_choose(struct scheduler *scheduler, uint64_t now, bool may_switch);

#endif
