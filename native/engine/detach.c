#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"

static void undo_patches(struct task *task)
{
    struct group *group = task->group;
    for (size_t i = 0; i < group->patch_count; i++)
        tracee_write(task->turn.tid, group->patches[i].address, group->patches[i].original, group->patches[i].size);
    group->patch_count = 0;
}

static bool is_moving(const struct task *task) { return task->turn.state == TASK_BLOCKED || task->turn.state == TASK_RUNNING; }

/* Brings a task to a stop; the signal that it stopped for, if any, or -1 when it is gone. */
static int stop_task(struct task *task)
{
    if (is_moving(task)) {
        if (ptrace(PTRACE_INTERRUPT, task->turn.tid, 0, 0) == -1 || !tracee_wait(task->turn.tid, &task->status)) return -1;
    } else if (task->turn.state == TASK_READY) {
        return task->resume_signal;
    }
    if (!WIFSTOPPED(task->status)) return -1;
    int signal = WSTOPSIG(task->status);
    if (signal == (SIGTRAP | 0x80)) task->in_call = !task->in_call;
    if (task->status >> 16 || signal == (SIGTRAP | 0x80)) return 0;
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, task->turn.tid, 0, &info) == 0) take_forwarded(task, &info);
    return signal;
}

/* At a call that was sent to us and has not been made: the task makes it again. True where it is at one. */
static bool put_call_back(struct task *task)
{
    siginfo_t info;
    struct user_regs_struct registers;
    if (!WIFSTOPPED(task->status) || task->status >> 8 != SIGSYS || task->redirected) return false;
    if (task->turn.state == TASK_READY && !task->in_call) return false;
    if (ptrace(PTRACE_GETSIGINFO, task->turn.tid, 0, &info) == -1 || info.si_code != SYS_USER_DISPATCH_) return false;
    if (tracee_get_registers(task->turn.tid, &registers)) return false;
    registers.rip -= SYSCALL_INSTRUCTION_BYTES;
    registers.orig_rax = (uint64_t)-1;
    ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask);
    return tracee_set_registers(task->turn.tid, &registers) == 0;
}

/* Brings a task to a stop in its own code, with what the agent has recorded of it. The signal that it is to get, or -1. */
static int settle(struct recorder *recorder, struct task *task)
{
    int signal = stop_task(task);
    end_quiet(task);
    if (signal == SIGSEGV && task->stood_back) {
        /* It carries its instruction out itself. */
        undo_force(recorder, task, SIGSEGV);
        signal = 0;
    }
    if (signal < 0 || !task->group || !task->group->space->agent) return signal;
    if (put_call_back(task)) signal = 0;
    if (task->turn.state != TASK_READY && runs_free(task)) drain(recorder, task);
    if (adopt_interrupted(recorder, task) == REQUEST_NONE && note_place(task)) leave_agent(recorder, task);
    return signal;
}

static void release(struct recorder *recorder, struct task *task, int signal)
{
    static const uint64_t enable[6] = {PR_SET_TSC, PR_TSC_ENABLE};
    struct user_regs_struct registers;
    if (signal < 0) return;
    /* Behind this stop a task makes no more calls, and its end is for its parent to see. */
    bool dead = task->status >> 16 == PTRACE_EVENT_EXIT || tracee_get_registers(task->turn.tid, &registers) != 0;
    if (!dead && signal == SIGTRAP && leave_trampoline(task->turn.tid, &registers)) signal = 0;
    if (!dead) stop_clock(task);
    if (!dead && task->redirected) {
        /* At the agent's instruction, before or in the call: back to its own. */
        registers.rip = task->return_to - (task->in_call ? 0 : SYSCALL_INSTRUCTION_BYTES);
        tracee_set_registers(task->turn.tid, &registers);
    }
    if (!dead && task->group && task->group->space->agent) {
        space_dispatch(task->turn.tid, &recorder->agent, false);
        silence(task);
        /* The agent is one task's at a time. */
        space_unpatch(task->group->space, task->turn.tid);
    }
    if (!dead && task->in_call && (int64_t)registers.rax == -ENOSYS && (int64_t)registers.orig_rax >= 0) {
        /* At the entry of a call: cancel it, so that the injected one can run, and come back to it. */
        struct user_regs_struct cancelled = registers;
        cancelled.orig_rax = (uint64_t)-1;
        tracee_set_registers(task->turn.tid, &cancelled);
        ptrace(PTRACE_SYSCALL, task->turn.tid, 0, 0);
        dead = !tracee_wait(task->turn.tid, &task->status) || !WIFSTOPPED(task->status) || task->status >> 16 == PTRACE_EVENT_EXIT;
        registers.rax = registers.orig_rax;
        registers.orig_rax = (uint64_t)-1;
        registers.rip -= SYSCALL_INSTRUCTION_BYTES;
        if (!dead) tracee_set_registers(task->turn.tid, &registers);
    }
    uint64_t place = task->group && task->group->space->agent ? AGENT_TEXT + recorder->agent.places.traced : 0;
    if (!dead) tracee_inject_at(task->turn.tid, place, SYS_prctl, enable, &dead);
    if (!dead && task->group) {
        undo_patches(task);
        for (unsigned i = task->injecting; i < task->held_count; i++) syscall(SYS_tgkill, task->group->pid, task->turn.tid, task->held[i].si_signo);
    }
    sched_setaffinity(task->turn.tid, sizeof task->affinity, &task->affinity);
    /* Only from a signal's own stop does detaching deliver it as it was. */
    ptrace(PTRACE_DETACH, task->turn.tid, 0, signal);
}

void let_go(struct recorder *recorder, struct task *task) { release(recorder, task, settle(recorder, task)); }

static void leave(struct recorder *recorder, struct task *task, const char *reason)
{
    int signal = settle(recorder, task);
    if (task->started) {
        recorder_begin_event(recorder, EVENT_LEAVE, task->turn.tid, 1);
        wire_text(&recorder->events, reason);
    }
    release(recorder, task, signal);
}

void recorder_leave(struct recorder *recorder, struct group *group, const char *reason)
{
    collect_all(recorder);
    for (struct task *task = first_task(recorder), *next; task; task = next) {
        next = next_task(task);
        if (task->group != group) continue;
        bool last = group->tasks == 1;
        leave(recorder, task, reason);
        remove_task(recorder, task);
        if (last) return;
    }
}

/* What `task` has just made is traced as well; it may not have come to its first stop. */
static void find_child(struct recorder *recorder, const struct task *task)
{
    int event = task->status >> 16;
    unsigned long tid = 0;
    if (event != PTRACE_EVENT_CLONE && event != PTRACE_EVENT_FORK && event != PTRACE_EVENT_VFORK) return;
    if (ptrace(PTRACE_GETEVENTMSG, task->turn.tid, 0, &tid) == -1 || recorder_find(recorder, (pid_t)tid)) return;
    struct task *child = add_task(recorder, (pid_t)tid);
    if (child) child->turn.state = TASK_RUNNING;
}

/* In the order in which they stop: one that waits for its vfork child stops only when that one, let go, has executed. */
void recorder_detach(struct recorder *recorder, const char *reason)
{
    collect_all(recorder);
    for (struct task *task = first_task(recorder); task; task = next_task(task))
        if (is_moving(task)) ptrace(PTRACE_INTERRUPT, task->turn.tid, 0, 0);
    while (first_task(recorder)) {
        struct task *task = first_task(recorder);
        while (task && is_moving(task)) task = next_task(task);
        if (!task) {
            if (collect(recorder, 0) || errno == EINTR) continue;
            break;
        }
        if (task->turn.state == TASK_PENDING) find_child(recorder, task);
        leave(recorder, task, reason);
        remove_task(recorder, task);
    }
    while (first_task(recorder)) remove_task(recorder, first_task(recorder));
}
