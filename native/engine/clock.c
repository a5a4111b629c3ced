/* The recorder's side of the bytecode clock: when a task is to stop at a tick, and what happens there. */
#include "recording.h"

#include <signal.h>
#include <sys/ptrace.h>

#include "events.h"

void note_clock(struct task *task, const struct agent_clock *clock)
{
    struct space *space = task->group->space;
    if (clock->counter < space->clock.counter) turn_ticks(&task->turn, (uint64_t)(space->clock.counter - clock->counter));
    space->has_ticked |= clock->counter < space->clock.counter;
    space->clock = *clock;
}

static uint64_t place_of_clock(void) { return AGENT_STATE + offsetof(struct agent_state, clock); }

bool is_clocked(const struct task *task) { return task->group && task->group->space->ticks; }

uint64_t passed_ticks(const struct task *task)
{
    const struct agent_clock *clock = &task->group->space->clock;
    return task->fresh ? 0 : (uint64_t)(clock->base - clock->counter);
}

void read_ticks(struct task *task)
{
    struct agent_clock clock;
    if (is_clocked(task) && tracee_read(task->turn.tid, place_of_clock(), &clock, sizeof clock) == sizeof clock) note_clock(task, &clock);
}

void ask_for_tick(struct task *task, uint64_t ticks)
{
    if (!task->asked || ticks < task->asked) task->asked = ticks;
}

void wind_clock(struct task *task)
{
    if (!is_clocked(task)) return;
    struct agent_clock *clock = &task->group->space->clock;
    if (task->hurried) ask_for_tick(task, 1);
    if (choose_held(task)) ask_for_tick(task, task->held_until > task->turn.all_ticks ? task->held_until - task->turn.all_ticks : 1);
    int64_t left = task->asked && (int64_t)task->asked <= clock->counter ? (int64_t)task->asked - 1 : clock->counter;
    task->asked = 0;
    if (!task->fresh && left == clock->counter) return;
    *clock = (struct agent_clock){left, left + (int64_t)passed_ticks(task)};
    task->fresh = false;
    tracee_write(task->turn.tid, place_of_clock(), clock, sizeof *clock);
}

void stop_clock(struct task *task)
{
    const struct agent_clock clock = {CLOCK_AT_REST, CLOCK_AT_REST};
    if (is_clocked(task)) tracee_write(task->turn.tid, place_of_clock(), &clock, sizeof clock);
}

static void put_tick(struct recorder *recorder, struct task *task, uint64_t ticks, const struct user_regs_struct *registers)
{
    recorder_begin_event(recorder, EVENT_TICK, task->turn.tid, 2);
    wire_unsigned(&recorder->events, ticks);
    wire_binary(&recorder->events, registers, sizeof *registers);
    task->exit = *registers;
    task->at_boundary = true;
}

bool stop_at_tick(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct registers;
    if (!is_clocked(task) || tracee_get_registers(task->turn.tid, &registers) || !leave_trampoline(task->turn.tid, &registers)) return false;
    undo_force(recorder, task, SIGTRAP);
    read_ticks(task);
    uint64_t ticks = passed_ticks(task);
    struct agent_clock *clock = &task->group->space->clock;
    *clock = (struct agent_clock){CLOCK_AT_REST, CLOCK_AT_REST + (int64_t)ticks};
    tracee_write(task->turn.tid, place_of_clock(), clock, sizeof *clock);
    task->turn.behind = task->turn.ticks;
    bool signalled = choose_held(task), preempted = is_preempted(recorder, task);
    if (signalled || preempted) put_tick(recorder, task, ticks, &registers);
    if (signalled) {
        deliver_at_tick(recorder, task);
    } else if (preempted) {
        task->preempted = task->fatal_behind = true;
    } else {
        task->hurried = false;
    }
    return true;
}
