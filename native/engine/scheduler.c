#include "scheduler.h"

#include <stddef.h>

void scheduler_add(struct scheduler *scheduler, struct turn *turn)
{
    struct turn **link = &scheduler->first;
    while (*link) link = &(*link)->next;
    *link = turn;
    turn->next = NULL;
}

void scheduler_remove(struct scheduler *scheduler, struct turn *turn)
{
    for (struct turn **link = &scheduler->first; *link; link = &(*link)->next)
        if (*link == turn) {
            *link = turn->next;
            break;
        }
    if (scheduler->current == turn) scheduler->current = NULL;
}

struct turn *scheduler_find(const struct scheduler *scheduler, pid_t tid)
{
    if (scheduler->current && scheduler->current->tid == tid) return scheduler->current;
    for (struct turn *turn = scheduler->first; turn; turn = turn->next)
        if (turn->tid == tid) return turn;
    return NULL;
}

bool turn_can_go_on(const struct turn *turn) { return turn->state == TASK_READY || turn->state == TASK_PENDING; }

/* The first after `last` that can go on, itself being the last one asked. */
static struct turn *next_turn(const struct scheduler *scheduler, struct turn *last)
{
    struct turn *turn = last && last->next ? last->next : scheduler->first;
    for (struct turn *first = turn; turn;) {
        if (turn_can_go_on(turn)) return turn;
        turn = turn->next ? turn->next : scheduler->first;
        if (turn == first) break;
    }
    return NULL;
}

void scheduler_yield(struct scheduler *scheduler) { scheduler->yielded = true; }

bool scheduler_is_over(const struct scheduler *scheduler, uint64_t now)
{
    const struct turn *current = scheduler->current;
    return !current || !turn_can_go_on(current) || scheduler->yielded || now - scheduler->slice_start >= scheduler->slice;
}

struct turn *scheduler_choose(struct scheduler *scheduler, uint64_t now, bool may_switch)
{
    struct turn *current = scheduler->current;
    if (current && turn_can_go_on(current) && !(may_switch && scheduler_is_over(scheduler, now))) return current;
    struct turn *next = next_turn(scheduler, current);
    if (!next) return NULL;
    scheduler->slice_start = now;
    scheduler->yielded = false;
    scheduler->current = next;
    return next;
}
