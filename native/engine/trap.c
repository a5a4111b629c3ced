#define _GNU_SOURCE
#include "trap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "step.h"
#include "tracee.h"

void trap_set_free(struct trap_set *set)
{
    for (size_t i = 0; i < set->count; i++) free(set->trap[i].ranges);
    free(set->log);
    set->count = 0;
    set->log = NULL;
}

/* Memory can be watched only by debug registers, and comes first. */
static bool assign_slots(struct trap_set *set)
{
    unsigned next = 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->trap[i].kind != TRAP_EXECUTE) set->trap[i].slot = next++;
    bool fits = next <= DEBUG_REGISTERS;
    for (size_t i = 0; i < set->count; i++)
        if (set->trap[i].kind == TRAP_EXECUTE) set->trap[i].slot = next < DEBUG_REGISTERS ? next++ : DEBUG_REGISTERS;
    return fits;
}

bool trap_set_replace(struct trap_set *set, const struct trap *traps, size_t count)
{
    for (size_t i = 0; i < set->count; i++) free(set->trap[i].ranges);
    memcpy(set->trap, traps, count * sizeof *traps);
    set->count = count;
    set->generation++;
    set->logged = set->stops = 0;
    set->stopped = 0;
    if (assign_slots(set)) return true;
    trap_set_free(set);
    return false;
}

void trap_set_begin(struct trap_set *set, uint64_t event)
{
    set->event = event;
    set->stopped = 0;
    set->ticks = 0;
    for (size_t i = 0; i < set->count; i++) set->trap[i].hits = set->trap[i].in_tick = 0;
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
        if (trap->slot == DEBUG_REGISTERS || (trap->task && trap->task != task)) continue;
        uint64_t length = trap->kind == TRAP_EXECUTE ? 0 : trap->size == 8 ? 2 : trap->size - 1;
        error = set_debug_register(real, trap->slot, trap->kind == TRAP_EXECUTE ? executed_at(real, trap->address) : trap->address);
        control |= UINT64_C(1) << 2 * trap->slot | (uint64_t)trap->kind << (16 + 4 * trap->slot) | length << (18 + 4 * trap->slot);
    }
    return error ? error : set_debug_register(real, 7, control);
}

uint64_t trap_lies_at(const struct trap_set *set, pid_t task, pid_t real, uint64_t address)
{
    uint64_t found = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct trap *trap = &set->trap[i];
        bool meant = trap->kind == TRAP_EXECUTE && (!trap->task || trap->task == task);
        if (meant && executed_at(real, trap->address) == address) found |= UINT64_C(1) << i;
    }
    return found;
}

bool trap_await(const struct trap_set *set, pid_t task, pid_t real, uint64_t address)
{
    bool taken[DEBUG_REGISTERS + 1] = {false};
    unsigned slot = 0;
    for (size_t i = 0; i < set->count; i++) taken[set->trap[i].slot] = true;
    while (slot < DEBUG_REGISTERS && taken[slot]) slot++;
    if (trap_arm(set, task, real)) return false;
    if (trap_lies_at(set, task, real, address)) return true;
    if (slot == DEBUG_REGISTERS || set_debug_register(real, slot, address)) return false;
    uint64_t control = (uint64_t)ptrace(PTRACE_PEEKUSER, real, offsetof(struct user, u_debugreg) + 7 * sizeof control, 0);
    return set_debug_register(real, 7, control | UINT64_C(1) << 2 * slot) == 0;
}

static bool read_status(pid_t real, uint64_t *status)
{
    errno = 0;
    *status = (uint64_t)ptrace(PTRACE_PEEKUSER, real, offsetof(struct user, u_debugreg) + 6 * sizeof *status, 0);
    return errno == 0;
}

uint64_t trap_status(const struct trap_set *set, pid_t real)
{
    uint64_t status, hit = 0;
    if (!read_status(real, &status)) return 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->trap[i].slot < DEBUG_REGISTERS && status >> set->trap[i].slot & 1) hit |= UINT64_C(1) << i;
    return hit;
}

bool trap_is_lost(pid_t real)
{
    enum { STEP = 1 << 14 }; /* DR6.BS */
    uint64_t status;
    return !read_status(real, &status) || !(status & STEP);
}

uint64_t trap_armed(const struct trap_set *set, pid_t task)
{
    uint64_t armed = 0;
    for (size_t i = 0; i < set->count; i++)
        armed |= (uint64_t)(set->trap[i].slot < DEBUG_REGISTERS && (!set->trap[i].task || set->trap[i].task == task)) << i;
    return armed;
}

/* Those that it may have been: any that is watched, or one that lies where the task stands. */
static uint64_t candidates(const struct trap_set *set, pid_t task, pid_t real, uint64_t rip)
{
    return trap_armed(set, task) & (~trap_bits(set, TRAP_EXECUTE) | trap_lies_at(set, task, real, rip));
}

bool trap_is_hit(const struct trap_set *set, pid_t task, pid_t real, int status, const struct user_regs_struct *registers, uint64_t *hit, bool *lost)
{
    uint8_t code = 0;
    *hit = 0;
    *lost = false;
    tracee_read(real, registers->rip - 1, &code, sizeof code);
    int kind = tracee_debug_stop(real, status, code);
    if (kind == TRAP_HWBKPT_) {
        *hit = trap_status(set, real);
        return true;
    }
    if (!kind || registers->eflags & TRAP_FLAG) return false; /* a step of its own making; its end, too, has no register's bit */
    *hit = kind == TRAP_BRKPT_ ? candidates(set, task, real, registers->rip) : trap_status(set, real);
    *lost = *hit & (*hit - 1) && kind == TRAP_BRKPT_;
    return *hit != 0;
}

uint64_t trap_bits(const struct trap_set *set, enum trap_kind kind)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < set->count; i++) bits |= (uint64_t)(set->trap[i].kind == kind) << i;
    return bits;
}

bool trap_note(struct trap_set *set, pid_t real)
{
    uint64_t watched = trap_bits(set, TRAP_WRITE);
    for (unsigned i = 0; i < set->count; i++) {
        struct trap *trap = &set->trap[i];
        trap->noted = 0;
        trap->output = false;
        if (watched & UINT64_C(1) << i && tracee_read(real, trap->address, &trap->noted, trap->size) != trap->size) trap->noted = 0;
    }
    return watched;
}

void trap_note_output(struct trap_set *set, uint64_t address, size_t size)
{
    for (size_t i = 0; i < set->count; i++) {
        struct trap *trap = &set->trap[i];
        trap->output |= trap->kind == TRAP_WRITE && address < trap->address + trap->size && trap->address < address + size;
    }
}

uint64_t trap_written(const struct trap_set *set, pid_t real)
{
    uint64_t written = 0, watched = trap_bits(set, TRAP_WRITE);
    for (unsigned i = 0; i < set->count; i++) {
        uint64_t value = 0;
        if (!(watched & UINT64_C(1) << i) || tracee_read(real, set->trap[i].address, &value, set->trap[i].size) != set->trap[i].size) continue;
        if (set->trap[i].output || value != set->trap[i].noted) written |= UINT64_C(1) << i;
    }
    return written;
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

bool trap_count(struct trap_set *set, pid_t task, pid_t real, uint64_t hit, uint64_t event, uint64_t ticks)
{
    if (event != set->event) trap_set_begin(set, event);
    for (size_t i = 0; ticks != set->ticks && i < set->count; i++) set->trap[i].in_tick = 0;
    set->ticks = ticks;
    set->stopped = 0;
    set->stops++;
    for (unsigned i = 0; i < set->count; i++) {
        struct trap *trap = &set->trap[i];
        uint64_t value;
        if (!(hit & UINT64_C(1) << i) || (trap->task && trap->task != task) || !is_counted(trap, real, &value)) continue;
        trap->hits++;
        trap->in_tick++;
        if (!set->log) set->log = malloc(LOGGED_HITS * sizeof *set->log);
        if (set->log) set->log[set->logged++ % LOGGED_HITS] = (struct hit){event, trap->hits, set->stops, value, ticks, trap->in_tick, i};
        if (trap->stop_at && trap->hits >= trap->stop_at && (trap->stop_event == ANY_EVENT || trap->stop_event == event)) set->stopped |= UINT64_C(1) << i;
    }
    set->task = task;
    return set->stopped;
}

static const uint8_t int3 = 0xcc;

void trap_put(struct trap_set *set, pid_t task, pid_t real)
{
    for (size_t i = 0; i < set->count; i++) {
        struct trap *trap = &set->trap[i];
        if (trap->slot < DEBUG_REGISTERS || (trap->task && trap->task != task)) continue;
        uint64_t address = executed_at(real, trap->address);
        if (tracee_read(real, address, &trap->original, 1) == 1 && tracee_write(real, address, &int3, 1)) trap->put = address;
    }
}

void trap_take(struct trap_set *set, pid_t real)
{
    for (size_t i = set->count; i-- > 0;) {
        if (set->trap[i].put) tracee_write(real, set->trap[i].put, &set->trap[i].original, 1);
        set->trap[i].put = 0;
    }
}

uint64_t trap_at(const struct trap_set *set, pid_t task, pid_t real, uint64_t address)
{
    return trap_lies_at(set, task, real, address) & ~trap_armed(set, task);
}
