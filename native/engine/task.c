#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"
#include "transfer.h"

void remove_task(struct recorder *recorder, struct task *task)
{
    scheduler_remove(&recorder->scheduler, &task->turn);
    if (task->group && --task->group->tasks == 0) {
        recorder->ended[recorder->ended_count++ % ENDED] = task->group->pid;
        release_space(task->group->space);
        free(task->group);
    }
    release_descriptors(task->descriptors);
    buffer_free(&task->inputs);
    buffer_free(&task->unfinished);
    free(task);
}

pid_t task_of(const struct recorder *recorder, pid_t pid)
{
    for (const struct task *task = first_task(recorder); task; task = next_task(task))
        if (task->group && task->group->pid == pid) return task->turn.tid;
    return 0;
}

bool recorder_knows(const struct recorder *recorder, pid_t pid)
{
    if (task_of(recorder, pid)) return true;
    for (unsigned i = 0; i < ENDED; i++)
        if (pid && recorder->ended[i] == pid) return true;
    return false;
}

struct task *add_task(struct recorder *recorder, pid_t tid)
{
    struct task *task = calloc(1, sizeof *task);
    if (!task) return NULL;
    task->turn.tid = tid;
    task->affinity = recorder->affinity;
    scheduler_add(&recorder->scheduler, &task->turn);
    return task;
}

struct group *new_group(pid_t pid, const struct group *like)
{
    struct group *group = calloc(1, sizeof *group);
    if (!group) return NULL;
    if (like) *group = *like;
    group->pid = pid;
    group->tasks = 0;
    return group;
}

void join_group(struct task *task, struct group *group)
{
    task->group = group;
    group->tasks++;
}

enum request begin_exit(struct recorder *recorder, struct task *task, int status)
{
    recorder->subject = task;
    recorder->exit_status = status;
    recorder->exiting = true;
    return REQUEST_EXITING;
}

/* The first process of a pid namespace. Its ids from namespace to namespace stand in NSpid; the last is that of the innermost. */
bool is_namespace_init(pid_t pid)
{
    char path[32], line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *last = strncmp(line, "NSpid:", 6) == 0 ? strrchr(line, '\t') : NULL;
        found = last && strtol(last, NULL, 10) == 1 && strchr(line, '\t') != last;
    }
    if (file) fclose(file);
    return found;
}

void note_end(struct recorder *recorder, pid_t tid, int status)
{
    if (tid != recorder->root) return;
    recorder->root_status = status;
    recorder->root_ended = true;
}

/* A child that is not recorded from its beginning; what its parent sees of it is recorded with the parent. */
static void leave_child(struct recorder *recorder, struct task *child)
{
    if (WIFSTOPPED(child->status)) let_go(recorder, child);
    remove_task(recorder, child);
}

const struct syscall_row *unfinished_row(const struct task *task, const uint64_t **arguments)
{
    bool restarted = task->entry.orig_rax == SYS_restart_syscall && task->restart_row;
    *arguments = restarted ? task->restart_arguments : task->arguments;
    return restarted ? task->restart_row : task->row;
}

/* A call that has gone to sleep is finished by the kernel as soon as it can be, whosever turn it is, and its event comes when
   the task gets its own. A fork in between copies memory that the call has written to, and in replay has not. The child
   has not run: what it has of such a call's outputs is written to it when it starts. */
static void keep_unfinished(const struct recorder *recorder, const struct task *parent, struct task *child)
{
    enum { FEW = 4096 };
    for (const struct task *other = first_task(recorder); other; other = next_task(other)) {
        bool apart = other == parent || other == child || !other->group || other->group->space != parent->group->space;
        if (apart || !other->in_call || other->call != CALL_PLAIN || other->turn.state == TASK_READY) continue;
        const uint64_t *arguments;
        const struct syscall_row *row = unfinished_row(other, &arguments);
        struct ranges ranges = {0};
        /* Of EFAULT: all that was asked for. */
        if (row) transfer_outputs(child->turn.tid, row, arguments, -EFAULT, &ranges);
        size_t total = 0;
        for (size_t i = 0; i < ranges.count; i++) total += ranges.item[i].iov_len;
        /* Still asleep it has written nothing, but for messages that come by and by. */
        bool gathers = other->entry.orig_rax == SYS_recvmmsg || other->entry.orig_rax == SYS_recvmsg || other->entry.orig_rax == SYS_recvfrom;
        if (total > FEW && !gathers && tracee_state(other->turn.tid) == 'S') ranges.count = 0;
        for (size_t i = 0; i < ranges.count; i++) {
            uint8_t *copy = malloc(ranges.item[i].iov_len);
            size_t got = copy ? tracee_read(child->turn.tid, (uintptr_t)ranges.item[i].iov_base, copy, ranges.item[i].iov_len) : 0;
            if (got) {
                wire_unsigned(&child->unfinished, (uintptr_t)ranges.item[i].iov_base);
                wire_binary(&child->unfinished, copy, got);
                child->unfinished_pairs++;
            }
            free(copy);
        }
        ranges_free(&ranges);
    }
}

enum request spawned(struct recorder *recorder, struct task *parent, int event)
{
    unsigned long message = 0;
    if (ptrace(PTRACE_GETEVENTMSG, parent->turn.tid, 0, &message) == -1) return REQUEST_FAILED;
    pid_t tid = (pid_t)message;
    struct task *child = recorder_find(recorder, tid);
    if (!child) {
        child = add_task(recorder, tid);
        /* It stops before it has run, so that its creator may yield to it from now on. */
        if (!child || !tracee_wait(tid, &child->status)) return REQUEST_FAILED;
    }
    child->turn.state = TASK_PENDING;
    uint64_t flags = 0;
    const uint64_t *arguments = parent->arguments;
    uint64_t child_tid = arguments[3];
    if (parent->entry.orig_rax == SYS_clone) {
        flags = arguments[0];
    } else if (parent->entry.orig_rax == SYS_clone3) {
        struct clone_args request = read_clone_request(parent);
        flags = request.flags;
        child_tid = request.child_tid;
    } else if (event == PTRACE_EVENT_VFORK) {
        flags = CLONE_VM | CLONE_VFORK;
    }
    struct group *group = flags & CLONE_THREAD ? parent->group : new_group(tid, parent->group);
    if (!group) return REQUEST_FAILED;
    if (group != parent->group) {
        group->space = flags & CLONE_VM ? parent->group->space : new_space(parent->group->space);
        if (flags & CLONE_VM) group->space->users++;
        if (!group->space) return REQUEST_FAILED;
    }
    join_group(child, group);
    child->descriptors = flags & CLONE_FILES ? parent->descriptors : new_descriptors(parent->descriptors);
    if (!child->descriptors) return REQUEST_FAILED;
    if (child->descriptors == parent->descriptors) child->descriptors->users++;
    child->mask = parent->mask;
    child->affinity = parent->affinity;
    child->clear_child_tid = flags & CLONE_CHILD_CLEARTID ? child_tid : 0;
    child->set_child_tid = flags & CLONE_CHILD_SETTID ? child_tid : 0;
    if (!recorder->follow_forks && !(flags & CLONE_VM)) {
        leave_child(recorder, child);
        recorder->subject = parent;
        recorder->left = tid;
        return REQUEST_LEFT;
    }
    if (group->space->dispatch && !space_dispatch(tid, &recorder->agent, true)) return REQUEST_FAILED;
    if (!(flags & CLONE_VM)) keep_unfinished(recorder, parent, child);
    recorder_begin_event(recorder, EVENT_SPAWN, tid, 3);
    wire_unsigned(&recorder->events, (uint64_t)parent->turn.tid);
    wire_unsigned(&recorder->events, flags);
    wire_unsigned(&recorder->events, (uint64_t)group->pid);
    return REQUEST_NONE;
}

void start_task(struct recorder *recorder, struct task *task)
{
    uint32_t tid = 0;
    struct user_regs_struct registers;
    if (tracee_get_registers(task->turn.tid, &registers)) return;
    registers.orig_rax = (uint64_t)-1;
    task->exit = registers;
    task->started = task->at_boundary = true;
    bool written = task->set_child_tid && tracee_read(task->turn.tid, task->set_child_tid, &tid, sizeof tid) == sizeof tid;
    recorder_begin_event(recorder, EVENT_START, task->turn.tid, 2);
    wire_array(&recorder->events, 2 * (task->unfinished_pairs + written));
    buffer_append(&recorder->events, task->unfinished.data, task->unfinished.size);
    buffer_free(&task->unfinished);
    if (written) {
        wire_unsigned(&recorder->events, task->set_child_tid);
        wire_binary(&recorder->events, &tid, sizeof tid);
    }
    wire_binary(&recorder->events, &registers, sizeof registers);
}

static const struct task *peer_of(const struct recorder *recorder, const struct task *task)
{
    for (const struct task *other = first_task(recorder); other; other = next_task(other))
        if (other != task && other->group && other->group->space == task->group->space) return other;
    return NULL;
}

/* Memory that the kernel changes for a task that ends. */
struct last_words {
    struct buffer outputs;
    size_t pairs;
    uint32_t tid; /* the word at clear_child_tid before the end */
};

static void put_word(struct last_words *words, uint64_t address, uint32_t value)
{
    wire_unsigned(&words->outputs, address);
    wire_binary(&words->outputs, (const uint8_t *)&value, sizeof value);
    words->pairs++;
}

/* As the kernel marks a futex that a dead task holds (handle_futex_death, kernel/futex/core.c). */
static void put_dead_futex(const struct task *task, pid_t from, uint64_t address, struct last_words *words)
{
    uint32_t value;
    if (address % sizeof value || tracee_read(from, address, &value, sizeof value) != sizeof value) return;
    if ((value & FUTEX_TID_MASK) != (uint32_t)task->turn.tid) return;
    put_word(words, address, (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
}

/* The futexes on the list that the task registered (exit_robust_list, the same file): the lowest bit of a link marks one
   with priority inheritance, which is left in the same way. */
static void put_robust_list(const struct task *task, pid_t from, struct last_words *words)
{
    struct {
        uint64_t first, offset, pending;
    } head;
    if (!task->robust_list || tracee_read(from, task->robust_list, &head, sizeof head) != sizeof head) return;
    uint64_t pending = head.pending & ~UINT64_C(1), entry = head.first & ~UINT64_C(1);
    for (unsigned i = 0; entry && entry != task->robust_list && i < ROBUST_LIST_LIMIT; i++) {
        if (entry != pending) put_dead_futex(task, from, entry + head.offset, words);
        if (tracee_read(from, entry, &entry, sizeof entry) != sizeof entry) break;
        entry &= ~UINT64_C(1);
    }
    if (pending) put_dead_futex(task, from, pending + head.offset, words);
}

/* The kernel clears the word while others use the memory, if it can be written (mm_release, kernel/fork.c). */
static void put_cleared(const struct recorder *recorder, const struct task *task, struct last_words *words)
{
    const struct task *peer = peer_of(recorder, task);
    uint32_t now;
    if (!peer || !task->clear_child_tid || !words->tid) return;
    if (tracee_read(peer->turn.tid, task->clear_child_tid, &now, sizeof now) == sizeof now && now == 0)
        put_word(words, task->clear_child_tid, 0);
}

/* Of a task that has ended. */
static void put_exit(struct recorder *recorder, const struct task *task, int status, struct last_words *words)
{
    uint64_t ticks = task->died_computing ? passed_ticks(task) : 0;
    put_cleared(recorder, task, words);
    /* Whether it had come to its next stop, or died behind its last event (docs/trace-format.md). */
    bool arrived = task->in_call || task->fatal_fault;
    if (!arrived && !task->fatal_behind) task->group->unsettled = true;
    recorder_begin_event(recorder, EVENT_EXIT, task->turn.tid, ticks ? 4 : 3);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, (uint64_t)status);
    wire_unsigned(events, arrived);
    wire_array(events, 2 * words->pairs);
    buffer_append(events, words->outputs.data, words->outputs.size);
    buffer_free(&words->outputs);
    if (ticks) wire_unsigned(events, ticks);
}

/* A call that a fatal signal has interrupted returns to nobody, but may have written: output, and how long it would have
   slept on. It has no stop of its own then (ptrace_stop, kernel/signal.c), and is still at -ENOSYS if it never ran. */
void finish_interrupted(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct registers;
    if (!task->in_call || task->call != CALL_PLAIN || !task->row || task->row->replay != REPLAY_EMULATE) return;
    if (tracee_get_registers(task->turn.tid, &registers) || registers.orig_rax != task->entry.orig_rax) return;
    if ((int64_t)registers.rax == -ENOSYS) return;
    put_call(recorder, task, (int64_t)registers.rax);
    task->in_call = task->fatal_fault = false;
    task->fatal_behind = true;
}

/* A task that SIGKILL hits at a stop ends without the stop for its end (ptrace_stop, kernel/signal.c). */
void vanish_task(struct recorder *recorder, struct task *task, int status)
{
    if (task->group && task->started) {
        const struct task *peer = peer_of(recorder, task);
        struct last_words words = {.tid = (uint32_t)task->turn.tid};
        if (peer) put_robust_list(task, peer->turn.tid, &words);
        put_exit(recorder, task, status, &words);
    }
    remove_task(recorder, task);
}

void finish_exit(struct recorder *recorder)
{
    struct task *task = recorder->subject;
    pid_t tid = task->turn.tid;
    struct last_words words = {0};
    put_robust_list(task, tid, &words);
    tracee_read(tid, task->clear_child_tid, &words.tid, sizeof words.tid);
    bool leader = task->group->pid == tid, alone = task->group->tasks == 1;
    /* The first process of a namespace ends only after all others in it have (zap_pid_ns_processes,
       kernel/pid_namespace.c). */
    bool outlives = alone && is_namespace_init(task->group->pid);
    ptrace(task->status >> 16 == PTRACE_EVENT_EXIT ? PTRACE_CONT : PTRACE_DETACH, tid, 0, 0);
    if (outlives) {
        for (char state = tracee_state(tid); state && state != 'Z' && state != 'S'; state = tracee_state(tid)) sched_yield();
    } else if (!leader || alone) {
        /* Its last writes to shared memory must be over before anybody else runs. */
        int status = 0;
        while (tracee_wait(tid, &status) && WIFSTOPPED(status)) ptrace(PTRACE_CONT, tid, 0, 0);
        if (!WIFSTOPPED(status)) note_end(recorder, tid, status);
    } else {
        /* A leader is reaped only after its last thread; or a thread that executes a program takes its id over. */
        for (char state = tracee_state(tid); state && state != 'Z' && state != 't'; state = tracee_state(tid)) sched_yield();
    }
    put_exit(recorder, task, recorder->exit_status, &words);
    remove_task(recorder, task);
}

/* A thread that executes a program gets the id of its leader, which is gone (ptrace(2), "execve(2) under ptrace"). */
void take_over_leader(struct recorder *recorder, pid_t tid)
{
    unsigned long former = 0;
    if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &former) == -1 || (pid_t)former == tid) return;
    struct task *leader = recorder_find(recorder, tid), *thread = recorder_find(recorder, (pid_t)former);
    if (!thread) return;
    if (leader) remove_task(recorder, leader);
    thread->turn.tid = tid;
    thread->in_call = true;
}
