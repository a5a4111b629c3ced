#define _GNU_SOURCE
#include "trap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "tracee.h"

/* si_code of a SIGTRAP of a debug register (asm-generic/siginfo.h). */
enum { TRAP_HWBKPT_ = 4 };

void trap_set_free(struct trap_set *set)
{
    for (size_t i = 0; i < set->count; i++) free(set->trap[i].ranges);
    free(set->log);
    set->count = 0;
    set->log = NULL;
}

void trap_set_replace(struct trap_set *set, const struct trap *traps, size_t count)
{
    for (size_t i = 0; i < set->count; i++) free(set->trap[i].ranges);
    memcpy(set->trap, traps, count * sizeof *traps);
    set->count = count;
    set->generation++;
    set->logged = set->stops = 0;
    set->stopped = 0;
}

void trap_set_begin(struct trap_set *set, uint64_t event)
{
    set->event = event;
    set->stopped = 0;
    for (size_t i = 0; i < set->count; i++) set->trap[i].hits = 0;
}

static int set_debug_register(pid_t real, unsigned index, uint64_t value)
{
    return ptrace(PTRACE_POKEUSER, real, offsetof(struct user, u_debugreg) + index * sizeof value, value) == -1 ? errno : 0;
}

int trap_arm(const struct trap_set *set, pid_t task, pid_t real)
{
    uint64_t control = 0;
    /* An address is checked against the size that the register has: all go off first. */
    int error = set_debug_register(real, 7, 0);
    for (unsigned i = 0; i < set->count && !error; i++) {
        const struct trap *trap = &set->trap[i];
        if (trap->task && trap->task != task) continue;
        uint64_t length = trap->kind == TRAP_EXECUTE ? 0 : trap->size == 8 ? 2 : trap->size - 1;
        error = set_debug_register(real, i, trap->address);
        control |= UINT64_C(1) << 2 * i | (uint64_t)trap->kind << (16 + 4 * i) | length << (18 + 4 * i);
    }
    return error ? error : set_debug_register(real, 7, control);
}

bool trap_is_hit(pid_t real, unsigned *hit)
{
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, real, 0, &info) || info.si_code != TRAP_HWBKPT_) return false;
    errno = 0;
    long status = ptrace(PTRACE_PEEKUSER, real, offsetof(struct user, u_debugreg) + 6 * sizeof(long), 0);
    *hit = errno ? 0 : (unsigned)status & 15;
    return true;
}

static bool is_among(const struct trap *trap, uint64_t value)
{
    size_t low = 0, high = trap->range_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (value > trap->ranges[middle].last) low = middle + 1;
        else high = middle;
    }
    return low < trap->range_count && value >= trap->ranges[low].first;
}

static bool is_counted(const struct trap *trap, pid_t real, uint64_t *value)
{
    *value = 0;
    if (trap->kind == TRAP_EXECUTE) return true;
    if (tracee_read(real, trap->address, value, trap->size) != trap->size) return false;
    return !trap->range_count || is_among(trap, *value) != trap->except;
}

bool trap_count(struct trap_set *set, pid_t task, pid_t real, unsigned hit, uint64_t event)
{
    if (event != set->event) trap_set_begin(set, event);
    set->stopped = 0;
    set->stops++;
    for (unsigned i = 0; i < set->count; i++) {
        struct trap *trap = &set->trap[i];
        uint64_t value;
        if (!(hit & 1U << i) || (trap->task && trap->task != task) || !is_counted(trap, real, &value)) continue;
        trap->hits++;
        if (!set->log) set->log = malloc(LOGGED_HITS * sizeof *set->log);
        if (set->log) set->log[set->logged++ % LOGGED_HITS] = (struct hit){event, trap->hits, set->stops, value, i};
        if (trap->stop_at && trap->hits >= trap->stop_at && (trap->stop_event == ANY_EVENT || trap->stop_event == event)) set->stopped |= 1U << i;
    }
    set->task = task;
    return set->stopped;
}
