#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

enum {
    SCALES = 8,
    LARGE_SCALES = 14,
    TICK_SCALES = 13,
    RANKS = 1 << 16,
    MOST_CHANGES = 4,
    LONGEST_SLICE = 200 * 1000 * 1000, /* where turns do not end by time, a task that waits for others in a loop must not wait for ever */
    SHORT_PATIENCE = 10 * 1000 * 1000, /* CPython's thread asks for the interpreter's lock every 5 ms */
    LONG_PATIENCE = 60 * 1000 * 1000,
    HEIR_PATIENCE = 20 * 1000 * 1000,
    LISTED_PATIENCE = 500 * 1000 * 1000,
    LOG_LIMIT = 1 << 20,
};

static const uint32_t MOST_TICKS = AT_SLEEP - 1;
static const uint64_t IDLE = UINT64_C(3) * 1000 * 1000 * 1000;

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) */
static uint64_t draw(struct scheduler *scheduler, uint64_t limit)
{
    uint64_t number = scheduler->random += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return (number ^ number >> 31) % limit;
}

static uint64_t place_of(const struct turn *turn) { return course_of(turn->calls, turn->behind); }

/* Where the turn of a task ends. It gets at least one call of its own made, or nobody would come forward. */
static uint64_t end_of_turn(struct scheduler *scheduler, const struct turn *turn)
{
    uint64_t end = UINT64_MAX;
    scheduler->until_tick = 0;
    if (scheduler->policy == POLICY_CHAOS) {
        if (scheduler->ranked && !scheduler->changes) return end;
        uint64_t calls = draw(scheduler, UINT64_C(1) << draw(scheduler, scheduler->scale + 1));
        if (turn->ticking && draw(scheduler, 3)) {
            scheduler->until_tick = turn->all_ticks + 1 + draw(scheduler, UINT64_C(1) << draw(scheduler, scheduler->tick_scale + 1));
            return UINT64_MAX - 1;
        }
        return course_of(turn->calls + (turn->behind == AT_CALL) + (uint32_t)calls, AT_CALL);
    }
    for (size_t i = 0; i < scheduler->listed; i++) {
        const struct decision *decision = &scheduler->list[i];
        if (decision->task == turn->number && decision->course > place_of(turn) && decision->course < end) end = decision->course;
    }
    return end;
}

void scheduler_add(struct scheduler *scheduler, struct turn *turn)
{
    struct turn **link = &scheduler->first;
    while (*link) link = &(*link)->next;
    *link = turn;
    turn->next = NULL;
    turn->number = scheduler->added++;
    if (scheduler->policy == POLICY_CHAOS) turn->rank = RANKS + (uint32_t)draw(scheduler, RANKS);
    /* Who was alone had all the time there is. */
    if (scheduler->current && scheduler->until == UINT64_MAX && scheduler->policy != POLICY_TURNS) scheduler->until = end_of_turn(scheduler, scheduler->current);
}

void scheduler_remove(struct scheduler *scheduler, struct turn *turn)
{
    for (struct turn **link = &scheduler->first; *link; link = &(*link)->next)
        if (*link == turn) {
            *link = turn->next;
            break;
        }
    if (scheduler->wish == turn) scheduler->wish = NULL;
    if (scheduler->heir == turn) scheduler->heir = NULL;
    if (scheduler->current != turn) return;
    scheduler->current = NULL;
    scheduler->left = turn->number;
    scheduler->left_at = course_of(turn->calls, AT_END);
}

struct turn *scheduler_find(const struct scheduler *scheduler, pid_t tid)
{
    if (scheduler->current && scheduler->current->tid == tid) return scheduler->current;
    for (struct turn *turn = scheduler->first; turn; turn = turn->next)
        if (turn->tid == tid) return turn;
    return NULL;
}

static struct turn *find_number(const struct scheduler *scheduler, uint32_t number)
{
    for (struct turn *turn = scheduler->first; turn; turn = turn->next)
        if (turn->number == number) return turn;
    return NULL;
}

bool turn_can_go_on(const struct turn *turn) { return (turn->state == TASK_READY && !turn->held) || turn->state == TASK_PENDING; }

void turn_passes(struct turn *turn, uint32_t calls)
{
    if (!calls) return;
    turn->calls += calls;
    turn->behind = turn->sleeps = turn->ticks = 0;
}

void turn_ticks(struct turn *turn, uint64_t ticks)
{
    turn->all_ticks += ticks;
    turn->ticks = ticks < MOST_TICKS - turn->ticks ? turn->ticks + (uint32_t)ticks : MOST_TICKS;
}

/* The first after `last` that can go on, itself being the last one asked; of those that have been demoted least. */
static struct turn *next_turn(const struct scheduler *scheduler, struct turn *last)
{
    struct turn *turn = last && last->next ? last->next : scheduler->first, *found = NULL;
    for (struct turn *first = turn; turn;) {
        if (turn_can_go_on(turn) && (!found || turn->demoted < found->demoted)) found = turn;
        turn = turn->next ? turn->next : scheduler->first;
        if (turn == first) break;
    }
    return found;
}

void scheduler_yield(struct scheduler *scheduler) { scheduler->yielded = true; }

uint64_t scheduler_delay(struct scheduler *scheduler)
{
    if (scheduler->policy != POLICY_CHAOS) return 0;
    return draw(scheduler, UINT64_C(1) << draw(scheduler, scheduler->tick_scale + 1));
}

void scheduler_be_chaotic(struct scheduler *scheduler, uint64_t seed)
{
    scheduler->policy = POLICY_CHAOS;
    scheduler->random = seed;
    scheduler->scale = (unsigned)draw(scheduler, draw(scheduler, 4) ? SCALES : LARGE_SCALES);
    scheduler->tick_scale = (unsigned)draw(scheduler, TICK_SCALES);
    scheduler->ranked = draw(scheduler, 2);
    scheduler->lowest = RANKS;
    scheduler->changes = 1 + (unsigned)draw(scheduler, MOST_CHANGES);
    scheduler->disorder = (unsigned)draw(scheduler, 4);
    scheduler->slice = LONGEST_SLICE;
    scheduler->until = UINT64_MAX;
    scheduler->idle = IDLE;
}

bool scheduler_follow(struct scheduler *scheduler, const struct decision *list, size_t count)
{
    scheduler->list = malloc(count ? count * sizeof *list : 1);
    if (!scheduler->list) return false;
    memcpy(scheduler->list, list, count * sizeof *list);
    scheduler->listed = count;
    scheduler->policy = POLICY_LIST;
    scheduler->slice = LONGEST_SLICE;
    scheduler->until = UINT64_MAX;
    return true;
}

void scheduler_free(struct scheduler *scheduler)
{
    free(scheduler->list);
    free(scheduler->log);
    scheduler->list = NULL;
    scheduler->log = NULL;
    scheduler->listed = scheduler->logged = scheduler->log_room = 0;
}

static bool is_over_by_time(const struct scheduler *scheduler, uint64_t now) { return scheduler->yielded || now - scheduler->slice_start >= scheduler->slice; }

bool scheduler_is_over(const struct scheduler *scheduler, uint64_t now)
{
    const struct turn *current = scheduler->current;
    if (!current || !turn_can_go_on(current) || is_over_by_time(scheduler, now)) return true;
    if (scheduler->policy == POLICY_TURNS || (scheduler->policy == POLICY_CHAOS && current->dull)) return false;
    return place_of(current) >= scheduler->until || (scheduler->until_tick && current->all_ticks >= scheduler->until_tick);
}

uint64_t scheduler_allowance(const struct scheduler *scheduler)
{
    const struct turn *current = scheduler->current;
    uint32_t calls = (uint32_t)(scheduler->until >> 32);
    if (scheduler->policy == POLICY_TURNS || !current) return UINT64_MAX;
    if (calls <= current->calls) return 0;
    /* Its ticks are counted from the end of the last call. */
    return calls - current->calls - ((uint32_t)scheduler->until != AT_CALL);
}

uint64_t scheduler_ticks(const struct scheduler *scheduler)
{
    const struct turn *current = scheduler->current;
    uint32_t calls = (uint32_t)(scheduler->until >> 32), ticks = (uint32_t)scheduler->until;
    if (current && scheduler->until_tick) return scheduler->until_tick > current->all_ticks ? scheduler->until_tick - current->all_ticks : 1;
    if (scheduler->policy == POLICY_TURNS || !current || ticks >= MOST_TICKS || calls > current->calls) return 0;
    return calls == current->calls && ticks > current->ticks ? ticks - current->ticks : 1;
}

/* Whether it is ready, or about to be. */
static bool is_candidate(const struct scheduler *scheduler, const struct turn *turn, bool sleepers)
{
    if (turn == scheduler->current) return false;
    return turn_can_go_on(turn) || (sleepers && turn->state == TASK_BLOCKED && turn->wakes);
}

static struct turn *draw_turn(struct scheduler *scheduler, bool sleepers)
{
    uint64_t count = 0;
    struct turn *highest = NULL;
    for (struct turn *turn = scheduler->first; turn; turn = turn->next) {
        if (!is_candidate(scheduler, turn, sleepers)) continue;
        count++;
        if (!highest || turn->rank > highest->rank) highest = turn;
    }
    if (!count || scheduler->ranked) return highest;
    uint64_t left = draw(scheduler, count);
    for (struct turn *turn = scheduler->first; turn; turn = turn->next)
        if (is_candidate(scheduler, turn, sleepers) && !left--) return turn;
    return NULL;
}

static struct turn *listed_turn(const struct scheduler *scheduler, uint32_t task, uint64_t course)
{
    for (size_t i = 0; i < scheduler->listed; i++)
        if (scheduler->list[i].task == task && scheduler->list[i].course == course) return find_number(scheduler, scheduler->list[i].next);
    return NULL;
}

static uint64_t place_of_current(const struct scheduler *scheduler, bool able)
{
    const struct turn *current = scheduler->current;
    if (!current) return scheduler->left_at;
    return able ? place_of(current) : course_of(current->calls, AT_SLEEP + current->sleeps);
}

static uint32_t number_of_current(const struct scheduler *scheduler) { return scheduler->current ? scheduler->current->number : scheduler->left; }

/* False: too much time has been spent so. */
static bool wait_for(struct scheduler *scheduler, struct turn *turn, uint64_t patience)
{
    bool limited = scheduler->policy == POLICY_CHAOS;
    if (limited && scheduler->idle < patience) return false;
    if (limited) scheduler->idle -= patience;
    scheduler->patience = patience;
    scheduler->wish = turn;
    return true;
}

/* One that was left amid Python has the interpreter's lock. Who is to go on instead sleeps for the switch interval, asks for the
   lock, and sleeps again, until the other has come to where it is handed over. */
static bool heir_sleeps(struct scheduler *scheduler)
{
    struct turn *heir = scheduler->heir;
    if (!heir || heir != scheduler->current || turn_can_go_on(heir)) return false;
    scheduler->heir = NULL;
    return heir->state == TASK_BLOCKED && heir->wakes;
}

struct turn *scheduler_wish(struct scheduler *scheduler, uint64_t now, bool may_switch)
{
    const struct turn *current = scheduler->current;
    bool able = current && turn_can_go_on(current);
    scheduler->wish = NULL;
    if (scheduler->policy == POLICY_TURNS) return NULL;
    if (able ? !(may_switch && scheduler_is_over(scheduler, now)) : !next_turn(scheduler, NULL)) return NULL;
    if (heir_sleeps(scheduler) && wait_for(scheduler, scheduler->current, HEIR_PATIENCE)) return scheduler->wish;
    if (scheduler->policy == POLICY_LIST) {
        scheduler->wish = listed_turn(scheduler, number_of_current(scheduler), place_of_current(scheduler, able));
        scheduler->patience = LISTED_PATIENCE;
        return scheduler->wish;
    }
    if (!able && !scheduler->ranked && draw(scheduler, 4) >= scheduler->disorder) return NULL;
    if (able && scheduler->ranked) scheduler->current->rank = --scheduler->lowest;
    scheduler->wish = draw_turn(scheduler, able && draw(scheduler, 4));
    if (!scheduler->wish || turn_can_go_on(scheduler->wish)) return scheduler->wish;
    if (!wait_for(scheduler, scheduler->wish, draw(scheduler, 4) ? SHORT_PATIENCE : LONG_PATIENCE)) scheduler->wish = NULL;
    return scheduler->wish;
}

static void log_decision(struct scheduler *scheduler, const struct turn *next, bool preempts)
{
    if (scheduler->logged == scheduler->log_room) {
        size_t room = scheduler->log_room ? 2 * scheduler->log_room : 64;
        struct decided *log = room <= LOG_LIMIT ? realloc(scheduler->log, room * sizeof *log) : NULL;
        if (!log) return;
        scheduler->log = log;
        scheduler->log_room = room;
    }
    scheduler->log[scheduler->logged++] = (struct decided){
        .decision = {number_of_current(scheduler), next->number, place_of_current(scheduler, preempts)},
        .from = scheduler->current ? scheduler->current->tid : 0,
        .to = next->tid,
        .next_at = place_of(next),
        .event = scheduler->event,
        .preempts = preempts,
    };
}

struct turn *scheduler_choose(struct scheduler *scheduler, uint64_t now, bool may_switch)
{
    struct turn *current = scheduler->current, *wish = scheduler->wish;
    bool able = current && turn_can_go_on(current);
    if (able && !(may_switch && scheduler_is_over(scheduler, now))) return current;
    bool by_time = is_over_by_time(scheduler, now), turns = scheduler->policy == POLICY_TURNS;
    if (able && !turns && by_time) current->demoted = ++scheduler->demotions;
    struct turn *usual = next_turn(scheduler, current);
    if (!usual) return NULL;
    if (able && !turns && !by_time) usual = current;
    struct turn *next = wish && turn_can_go_on(wish) ? wish : usual;
    if (!turns) {
        if (next != current && (able || next != usual)) log_decision(scheduler, next, able);
        if (next != current && able && scheduler->changes) scheduler->changes--;
        if (next != current && able && next == wish) current->demoted = ++scheduler->demotions;
        if (current && !able) current->sleeps++;
        if (next != current) scheduler->heir = able ? next : NULL;
        scheduler->until = end_of_turn(scheduler, next);
    }
    scheduler->slice_start = now;
    scheduler->yielded = false;
    scheduler->wish = NULL;
    scheduler->current = next;
    return next;
}
