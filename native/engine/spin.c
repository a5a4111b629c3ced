/* Waiting for another task by looking at memory: neither a call nor a tick comes then, and nobody else would go on. Such a loop
   comes back to the same registers within a few instructions, again and again. So do many that compute and have their progress in
   memory: it waits if its turns do not depend on what they change, which policy finds out (recorder/spin.py). There the task is left,
   and replay finds the place by these registers and by the memory that the loop uses and does not change: from then on each turn is the
   same, but for what it changes, which is recorded.

   A task that computes is left amid that, for others or for a signal, at a point that is found again by all that it has (point.h). */
#include "recording.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "events.h"
#include "transfer.h"

enum { SHARE = 5, MOST_IN_VAIN = 6, USEFUL_NANOSECONDS = 500 * 1000, LONGEST_PAUSE = 200 * 1000 * 1000 };

/* Makes a step. False where something else has happened, which is kept as the stop of the task. */
static bool step(const struct recorder *recorder, struct task *task, struct user_regs_struct *registers)
{
    int status;
    uint8_t code = 0;
    tracee_read(task->turn.tid, registers->rip, &code, sizeof code);
    do
        if (ptrace(PTRACE_SINGLESTEP, task->turn.tid, 0, 0) || !tracee_wait(task->turn.tid, &status)) return false;
    while (hold_on_way(recorder, task, status));
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
        if (!step(recorder, task, &registers)) return false;
        if (!tracee_same_place(&registers, first)) continue;
        came = true;
        if (!is_repeated(recorder)) continue;
        recorder->loop.size /= 2;
        return true;
    }
    return false;
}

static uint64_t now(const struct recorder *recorder)
{
    struct timespec time;
    read_clock(&time);
    return nanoseconds(&recorder->start, &time);
}

enum request look_amid(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct registers;
    if (!runs_own_code(task) || tracee_get_registers(task->turn.tid, &registers) || !is_own_code(task, &registers)) return REQUEST_NONE;
    bool repeats = comes_back(recorder, task, &registers);
    if (task->turn.state != TASK_READY) return REQUEST_NONE;
    recorder->repeats = repeats && !task->held_count;
    recorder->subject = task;
    recorder->led_since = 0;
    return REQUEST_AMID;
}

/* To leave a task amid native code takes a look at all its memory: only so often that it is a sixth of the time, and more seldom where others
   have no use for it, who wait for the interpreter's lock that the task has. */
void end_stand(const struct recorder *recorder, struct task *task)
{
    if (!task->stood) return;
    uint64_t present = now(recorder);
    bool useful = present - task->stood >= USEFUL_NANOSECONDS;
    task->vain = useful ? 0 : task->vain < MOST_IN_VAIN ? task->vain + 1 : MOST_IN_VAIN;
    uint64_t pause = SHARE * task->stood_for, longer = pause << task->vain;
    if (longer > LONGEST_PAUSE) longer = pause > LONGEST_PAUSE ? pause : LONGEST_PAUSE;
    task->next_stand = present + longer;
    task->stood = 0;
}

bool recorder_may_stand(struct recorder *recorder)
{
    struct task *task = recorder->subject;
    if (task->turn.state != TASK_READY || now(recorder) < task->next_stand) return false;
    return choose_held(task) || is_preempted(recorder, task);
}

bool recorder_step(struct recorder *recorder, struct user_regs_struct *registers)
{
    struct task *task = recorder->subject;
    if (!recorder->led_since) recorder->led_since = now(recorder);
    return task->turn.state == TASK_READY && tracee_get_registers(task->turn.tid, registers) == 0 && is_own_code(task, registers) && step(recorder, task, registers) && is_own_code(task, registers);
}

bool recorder_turn(struct recorder *recorder)
{
    struct user_regs_struct registers;
    for (size_t i = 1, count = states_count(recorder); i <= count; i++)
        if (!step(recorder, recorder->subject, &registers) || registers.rip != states(recorder)[i % count].rip) return false;
    return tracee_same_place(&registers, states(recorder));
}

static uint64_t ticks_here(struct task *task)
{
    read_ticks(task);
    return is_clocked(task) ? passed_ticks(task) : 0;
}

/* Behind the event that says where. */
static void leave_amid(struct task *task)
{
    task->at_boundary = false; /* as soon as it goes on: a loop comes by again */
    task->turn.behind = task->turn.ticks;
}

void recorder_rest(struct recorder *recorder, const struct buffer *changed, const struct buffer *kept)
{
    struct task *task = recorder->subject;
    if (tracee_get_registers(task->turn.tid, &task->exit)) return;
    uint64_t ticks = ticks_here(task);
    recorder_begin_event(recorder, EVENT_TICK, task->turn.tid, 5);
    wire_unsigned(&recorder->events, ticks);
    wire_binary(&recorder->events, &task->exit, sizeof task->exit);
    wire_unsigned(&recorder->events, 1);
    buffer_append(&recorder->events, changed->data, changed->size);
    buffer_append(&recorder->events, kept->data, kept->size);
    leave_amid(task);
    task->preempted = task->fatal_behind = true;
}

/* What calls that have begun may write at any moment: replay has that at their ends. */
void recorder_pending(const struct recorder *recorder, struct ranges *pending)
{
    const struct task *task = recorder->subject;
    for (const struct task *other = first_task(recorder); other; other = next_task(other)) {
        if (other == task || !other->group || other->group->space != task->group->space || !other->in_call) continue;
        const uint64_t *arguments;
        const struct syscall_row *row = unfinished_row(other, &arguments);
        if (row) transfer_room(other->turn.tid, row, arguments, pending);
    }
}

void recorder_stand(struct recorder *recorder, const struct span *spans, size_t count, const struct buffer *kept, const struct buffer *moved)
{
    static uint8_t area[XSTATE_BYTES];
    size_t size = sizeof area;
    struct task *task = recorder->subject;
    struct ranges pending = {0};
    if (tracee_get_registers(task->turn.tid, &task->exit) || !is_own_code(task, &task->exit) || tracee_get_xstate(task->turn.tid, area, &size)) return;
    recorder_pending(recorder, &pending);
    uint64_t ticks = ticks_here(task);
    recorder_begin_event(recorder, EVENT_TICK, task->turn.tid, 9);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, ticks);
    wire_binary(events, &task->exit, sizeof task->exit);
    wire_unsigned(events, 0);
    wire_array(events, 0);
    buffer_append(events, kept->data, kept->size);
    wire_binary(events, area, size);
    wire_array(events, 4 * count);
    for (size_t i = 0; i < count; i++) {
        wire_unsigned(events, spans[i].start);
        wire_unsigned(events, spans[i].end);
        wire_unsigned(events, spans[i].sparse);
        wire_unsigned(events, hash_span(task->turn.tid, &spans[i], pending.item, pending.count));
    }
    wire_array(events, 2 * pending.count);
    for (size_t i = 0; i < pending.count; i++) {
        wire_unsigned(events, (uintptr_t)pending.item[i].iov_base);
        wire_unsigned(events, (uintptr_t)pending.item[i].iov_base + pending.item[i].iov_len);
    }
    buffer_append(events, moved->data, moved->size);
    ranges_free(&pending);
    task->stood = now(recorder);
    task->stood_for = task->stood - recorder->led_since;
    task->next_stand = task->stood + SHARE * task->stood_for;
    leave_amid(task);
    if (choose_held(task)) {
        task->stood = 0;
        deliver_at_tick(recorder, task);
    } else {
        task->preempted = task->fatal_behind = true;
    }
}
