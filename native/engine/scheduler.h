/* Whose turn it is among tasks of which one runs at a time: states in, a decision out. Knows nothing of ptrace. */
#ifndef PYRR_SCHEDULER_H
#define PYRR_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum task_state {
    TASK_UNKNOWN, /* seen before the event that tells whose child it is; gets no turn */
    TASK_READY,   /* stopped; may be resumed */
    TASK_PENDING, /* stopped; its stop is not handled yet */
    TASK_RUNNING,
    TASK_BLOCKED, /* in the kernel until something happens */
};

/* The part of a task that the scheduler sees. */
struct turn {
    pid_t tid;
    enum task_state state;
    struct turn *next;
};

/* Tasks stand in the order of their turns; a turn lasts until the task blocks or its slice is over. */
struct scheduler {
    struct turn *first, *current;
    uint64_t slice, slice_start; /* nanoseconds */
    bool yielded;
};

bool turn_can_go_on(const struct turn *turn);
/* A new task stands at the end. */
void scheduler_add(struct scheduler *scheduler, struct turn *turn);
void scheduler_remove(struct scheduler *scheduler, struct turn *turn);
struct turn *scheduler_find(const struct scheduler *scheduler, pid_t tid);
/* The current task lets others go first, once it may be switched from. */
void scheduler_yield(struct scheduler *scheduler);
/* Whether another may be chosen once the current task can be switched from. `now` is in nanoseconds. */
bool scheduler_is_over(const struct scheduler *scheduler, uint64_t now);
/* Makes the task that goes on next the current one and returns it; NULL when none can.
   `may_switch` tells that the current task stands where a switch can be recorded. */
struct turn *scheduler_choose(struct scheduler *scheduler, uint64_t now, bool may_switch);

#endif
