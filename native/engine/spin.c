/* Waiting for another task by looking at memory: neither a call nor a tick comes then, and nobody else would go on. Such a loop
   comes back to the same registers within a few instructions. There the task is left, and replay finds the place by them: a loop
   is in the same state each time it comes by, but for what it writes, which is recorded. The same registers may come before the wait
   begins, and when it is over, but then the task does not come back to them. */
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

static bool comes_back(struct recorder *recorder, struct task *task, const struct user_regs_struct *first)
{
    struct user_regs_struct registers = *first;
    recorder->loop.size = 0;
    for (unsigned i = 0; i < LONGEST_LOOP && is_own_code(task, &registers); i++) {
        buffer_append(&recorder->loop, &registers, sizeof registers);
        if (!step(task, &registers)) return false;
        if (tracee_same_place(&registers, first)) return true;
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

void recorder_rest(struct recorder *recorder)
{
    struct task *task = recorder->subject;
    if (tracee_get_registers(task->turn.tid, &task->exit)) return;
    read_ticks(task);
    recorder_begin_event(recorder, EVENT_TICK, task->turn.tid, 4);
    wire_unsigned(&recorder->events, is_clocked(task) ? passed_ticks(task) : 0);
    wire_binary(&recorder->events, &task->exit, sizeof task->exit);
    wire_unsigned(&recorder->events, 1);
    wire_array(&recorder->events, 2 * recorder->extra_pairs);
    buffer_append(&recorder->events, recorder->extra.data, recorder->extra.size);
    recorder->extra.size = recorder->extra_pairs = 0;
    task->at_boundary = true;
    task->turn.behind = task->turn.ticks;
    task->preempted = task->fatal_behind = true;
}
