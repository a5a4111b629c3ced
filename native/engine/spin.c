/* Waiting for another task by looking at memory: neither a call nor a tick comes then, and nobody else would go on. Such a loop
   comes back to the same registers within a few instructions, again and again. So do many that compute and have their progress in
   memory: it waits if its turns do not depend on what they change, which policy finds out (recorder/spin.py). There the task is left,
   and replay finds the place by these registers and by the memory that the loop uses and does not change: from then on each turn is the
   same, but for what it changes, which is recorded. */
#include "recording.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "events.h"

/* Makes a step. False where something else has happened, which is kept as the stop of the task. */
static bool step(struct task *task, struct user_regs_struct *registers)
{
    int status;
    uint8_t code = 0;
    tracee_read(task->turn.tid, registers->rip, &code, sizeof code);
    if (ptrace(PTRACE_SINGLESTEP, task->turn.tid, 0, 0) || !tracee_wait(task->turn.tid, &status)) return false;
    if (tracee_debug_stop(task->turn.tid, status, code)) return tracee_get_registers(task->turn.tid, registers) == 0;
    task->status = status;
    task->turn.state = TASK_PENDING;
    return false;
}

static bool is_own_code(const struct task *task, const struct user_regs_struct *registers)
{
    uint64_t rip = registers->rip;
    return !(rip >= GATE_PAGE && rip < AGENT_END) && space_unmoved(task->group->space, rip) == rip && !tracee_at_call(task->turn.tid, rip);
}

static const struct user_regs_struct *states(const struct recorder *recorder) { return (const void *)recorder->loop.data; }

static size_t states_count(const struct recorder *recorder) { return recorder->loop.size / sizeof(struct user_regs_struct); }

/* Whether the second half of the steps was on the way of the first: a function may be called from two places of a loop in turn. What
   the registers have amid a turn may change with what it counts. */
static bool is_repeated(const struct recorder *recorder)
{
    size_t half = states_count(recorder) / 2;
    if (states_count(recorder) % 2) return false;
    for (size_t i = 0; i < half; i++)
        if (states(recorder)[i].rip != states(recorder)[i + half].rip) return false;
    return true;
}

static bool comes_back(struct recorder *recorder, struct task *task, const struct user_regs_struct *first)
{
    struct user_regs_struct registers = *first;
    recorder->loop.size = 0;
    bool came = false;
    for (unsigned i = 0; i < (came ? 2 * LONGEST_LOOP : LONGEST_LOOP) && is_own_code(task, &registers); i++) {
        buffer_append(&recorder->loop, &registers, sizeof registers);
        if (!step(task, &registers)) return false;
        if (!tracee_same_place(&registers, first)) continue;
        came = true;
        if (!is_repeated(recorder)) continue;
        recorder->loop.size /= 2;
        return true;
    }
    return false;
}

enum request look_for_spin(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct registers;
    if (!runs_free(task) || task->held_count || tracee_get_registers(task->turn.tid, &registers) || !comes_back(recorder, task, &registers)) return REQUEST_NONE;
    recorder->subject = task;
    return REQUEST_WAITS;
}

bool recorder_turn(struct recorder *recorder)
{
    struct user_regs_struct registers;
    for (size_t i = 1, count = states_count(recorder); i <= count; i++)
        if (!step(recorder->subject, &registers) || registers.rip != states(recorder)[i % count].rip) return false;
    return tracee_same_place(&registers, states(recorder));
}

void recorder_rest(struct recorder *recorder, const struct buffer *changed, const struct buffer *kept)
{
    struct task *task = recorder->subject;
    if (tracee_get_registers(task->turn.tid, &task->exit)) return;
    read_ticks(task);
    recorder_begin_event(recorder, EVENT_TICK, task->turn.tid, 5);
    wire_unsigned(&recorder->events, is_clocked(task) ? passed_ticks(task) : 0);
    wire_binary(&recorder->events, &task->exit, sizeof task->exit);
    wire_unsigned(&recorder->events, 1);
    buffer_append(&recorder->events, changed->data, changed->size);
    buffer_append(&recorder->events, kept->data, kept->size);
    task->at_boundary = true;
    task->turn.behind = task->turn.ticks;
    task->preempted = task->fatal_behind = true;
}
