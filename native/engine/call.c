#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "event.h"
#include "transfer.h"

/* Since Linux 5.14; not in older headers. */
enum { FUTEX_LOCK_PI2_ = 13 };

_Static_assert(sizeof(siginfo_t) == 128, "siginfo_t");

/* How much of a large range is there at all: a size that a program claims is no reason to allocate it. */
static size_t readable(pid_t tid, uint64_t address, size_t size)
{
    enum { STEP = 1 << 20 };
    static uint8_t scratch[STEP];
    if (size <= STEP) return size;
    size_t there = 0, got = STEP;
    while (there < size && got == STEP) {
        got = tracee_read(tid, address + there, scratch, STEP);
        there += got;
    }
    return there < size ? there : size;
}

static bool is_marked_for(const struct task *other, const struct task *task)
{
    return other->marked && other != task && other->group->space == task->group->space;
}

/* The marks that others have set meanwhile: what the call itself has done to these futexes comes behind. */
static void put_marks(struct recorder *recorder, const struct task *task)
{
    for (struct task *other = first_task(recorder); other; other = next_task(other)) {
        if (!is_marked_for(other, task)) continue;
        wire_unsigned(&recorder->events, other->marked);
        wire_binary(&recorder->events, (const uint8_t *)&other->mark, sizeof other->mark);
        other->marked = 0;
    }
}

static size_t count_marks(const struct recorder *recorder, const struct task *task)
{
    size_t count = 0;
    for (const struct task *other = first_task(recorder); other; other = next_task(other)) count += is_marked_for(other, task);
    return count;
}

static void put_outputs(struct recorder *recorder, struct task *task, int64_t result)
{
    task->marked = 0;
    struct ranges ranges = {0};
    const struct syscall_row *row = task->row;
    if (task->entry.orig_rax == SYS_restart_syscall && task->restart_row)
        transfer_outputs(task->turn.tid, task->restart_row, task->restart_arguments, result, &ranges);
    else if (row && task->call != CALL_REFUSED) transfer_outputs(task->turn.tid, row, task->arguments, result, &ranges);
    struct buffer *events = &recorder->events;
    wire_array(events, 2 * (ranges.count + recorder->extra_pairs + count_marks(recorder, task)));
    put_marks(recorder, task);
    for (size_t i = 0; i < ranges.count; i++) {
        size_t mark;
        uint64_t address = (uintptr_t)ranges.item[i].iov_base;
        size_t size = readable(task->turn.tid, address, ranges.item[i].iov_len);
        wire_unsigned(events, address);
        mark = events->size;
        uint8_t *place = wire_binary_reserve(events, size);
        if (!place && size) break;
        size_t got = tracee_read(task->turn.tid, address, place, size);
        if (got == size) continue;
        /* Unreadable behind `got`: encode what is there. */
        uint8_t *copy = got ? malloc(got) : NULL;
        if (copy) memcpy(copy, place, got);
        events->size = mark;
        wire_binary(events, copy, copy ? got : 0);
        free(copy);
    }
    buffer_append(events, recorder->extra.data, recorder->extra.size);
    recorder->extra.size = recorder->extra_pairs = 0;
    ranges_free(&ranges);
}

void put_call(struct recorder *recorder, struct task *task, int64_t result)
{
    unsigned count = task->row ? task->row->argument_count : 6;
    unsigned stream = stream_of(task, result);
    bool sent = stream && recorder->sent.size;
    recorder_begin_event(recorder, EVENT_SYSCALL, task->turn.tid, sent ? 8 : stream ? 7 : 6);
    struct buffer *events = &recorder->events;
    wire_call_start(events, &(struct call_start){task->entry.orig_rax, task->site, result, task->arguments, count, &task->inputs, task->input_pairs});
    put_outputs(recorder, task, result);
    if (stream) wire_unsigned(events, stream);
    if (sent) wire_binary(events, recorder->sent.data, recorder->sent.size);
    recorder->sent.size = 0;
    if (is_own_call(task->entry.orig_rax) && !is_restart(result)) turn_passes(&task->turn, 1);
    if (!task->row) return;
    follow_streams(recorder, task, result);
    watch_memory_file(recorder, task, result);
}

/* Makes the call fail in the kernel, whichever it is. Its number stays what it is: a filter of the program's own judges
   it, and would judge that of a cancelled call (-1) otherwise. */
static void spoil_call(struct user_regs_struct *registers)
{
    registers->rdi = registers->rsi = registers->rdx = registers->r10 = registers->r8 = registers->r9 = (uint64_t)-1;
}

/* Whether it was the spoilt arguments that the call has failed of, and not a filter or a privilege. */
static bool is_spoilt(int64_t result)
{
    return result == -EINVAL || result == -EFAULT || result == -EBADF || result == -E2BIG || result == -EOPNOTSUPP || result == -ENOSYS;
}

static void restore_arguments(struct user_regs_struct *registers, const struct user_regs_struct *entry)
{
    registers->rdi = entry->rdi, registers->rsi = entry->rsi, registers->rdx = entry->rdx;
    registers->r10 = entry->r10, registers->r8 = entry->r8, registers->r9 = entry->r9;
}

/* Of a task that dies in a call: its memory and registers are compared. */
void put_arguments_back(const struct task *task)
{
    struct user_regs_struct registers;
    if (!task->in_call || task->call == CALL_PLAIN || tracee_get_registers(task->turn.tid, &registers)) return;
    restore_arguments(&registers, &task->entry);
    tracee_set_registers(task->turn.tid, &registers);
}

static void answer_call(struct task *task, struct user_regs_struct *registers, int64_t answer)
{
    spoil_call(registers);
    task->call = CALL_ANSWERED;
    task->answer = answer;
}

/* `int 0x80` numbers its calls as 32-bit programs do. The syscall instruction leaves its own end in rcx. */
bool is_compatibility_call(const struct task *task)
{
    uint8_t code[SYSCALL_INSTRUCTION_BYTES];
    if (task->entry.rcx == task->entry.rip) return false;
    if (tracee_read(task->turn.tid, task->entry.rip - sizeof code, code, sizeof code) != sizeof code) return false;
    return code[0] == 0xcd && code[1] == 0x80;
}

/* The task that an affinity call is about; NULL: it is not one of ours, or not there. */
static struct task *affinity_subject(const struct recorder *recorder, struct task *task)
{
    pid_t tid = (pid_t)task->arguments[0];
    return tid ? recorder_find(recorder, tid) : task;
}

void begin_call(struct task *task)
{
    struct user_regs_struct *entry = &task->entry;
    entry->orig_rax = (uint32_t)entry->orig_rax; /* as do_syscall_64 takes it (arch/x86/entry/syscall_64.c) */
    const uint64_t arguments[6] = {entry->rdi, entry->rsi, entry->rdx, entry->r10, entry->r8, entry->r9};
    task->in_call = true;
    task->at_boundary = false;
    task->call = CALL_PLAIN;
    memcpy(task->arguments, arguments, sizeof arguments);
    task->row = row_of(entry->orig_rax, arguments);
    narrow_arguments(task->row, task->arguments);
}

/* The signal that a call sends; 0: none. */
static int sent_signal(const struct task *task)
{
    switch (task->entry.orig_rax) {
    case SYS_kill:
    case SYS_tkill:
    case SYS_rt_sigqueueinfo:
    case SYS_pidfd_send_signal: return (int)task->arguments[1];
    case SYS_tgkill:
    case SYS_rt_tgsigqueueinfo: return (int)task->arguments[2];
    default: return 0;
    }
}

/* Calls that a signal ends early, with what they have done so far or EINTR, even where nobody handles it; all others go on by
   themselves, or have a mask of their own. But for `read`, which only a socket's time-out (SO_RCVTIMEO) makes one of these:
   /proc/self/status shows what is blocked. */
static bool ends_early(const struct task *task)
{
    switch (task->entry.orig_rax) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_tee:
    case SYS_vmsplice:
    case SYS_copy_file_range:
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_epoll_wait:
    case SYS_semop:
    case SYS_semtimedop: return true;
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2: return !task->arguments[4];
    default: return false;
    }
}

/* The kernel wakes a traced task for signals that it ignores, too (sig_ignored, kernel/signal.c). */
static void begin_quiet(struct task *task)
{
    uint64_t mask = task->mask | ignored_signals(task->group);
    task->undisturbed = ends_early(task) && ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof mask, &mask) == 0;
}

void end_quiet(struct task *task)
{
    if (task->undisturbed) ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask);
    task->undisturbed = false;
}

bool enter_call(struct recorder *recorder, struct task *task)
{
    const struct user_regs_struct *entry = &task->entry;
    begin_call(task);
    if (task->cancels) {
        task->call = CALL_CANCELLED;
        return true;
    }
    task->inputs.size = task->input_pairs = 0;
    if (!task->row) return true;
    /* One that is pending would stand in the way of ours (legacy_queue, kernel/signal.c). */
    if (sent_signal(task) == SIGSYS)
        for (struct task *other = first_task(recorder); other; other = next_task(other)) turn_off(recorder, other);
    task->input_pairs = task->row->in_count ? transfer_inputs(task->turn.tid, task->row, task->arguments, &task->inputs) : 0;
    struct user_regs_struct changed = *entry;
    if (task->row->replay == REPLAY_REFUSE) {
        spoil_call(&changed);
        task->call = CALL_REFUSED;
    } else if ((entry->orig_rax == SYS_splice || entry->orig_rax == SYS_tee) && stream_of(task, 1)) {
        /* Output that passes from a pipe through the kernel could never be shown in replay. splice(2) may refuse. */
        answer_call(task, &changed, -EINVAL);
    } else if (entry->orig_rax == SYS_prctl && task->arguments[0] == PR_SET_DUMPABLE && task->arguments[1] <= 1) {
        /* It would shut us out of the task's memory. */
        task->group->undumpable = task->arguments[1] == 0;
        answer_call(task, &changed, 0);
    } else if (entry->orig_rax == SYS_prctl && task->arguments[0] == PR_GET_DUMPABLE && task->group->undumpable) {
        answer_call(task, &changed, 0);
    } else if (entry->orig_rax == SYS_prctl && (task->arguments[0] == PR_SET_TSC || task->arguments[0] == PR_GET_TSC)) {
        /* The counter stays with the recorder; the program is told what it would be told without. */
        int state = PR_TSC_ENABLE;
        bool got = task->arguments[0] == PR_SET_TSC || tracee_write(task->turn.tid, task->arguments[1], &state, sizeof state);
        answer_call(task, &changed, got ? 0 : -EFAULT);
    } else if ((entry->orig_rax == SYS_sched_setaffinity || entry->orig_rax == SYS_sched_getaffinity) && affinity_subject(recorder, task)) {
        /* The program must not see that it shares one processor with its tracer. */
        task->call = CALL_AFFINITY;
        return true;
    } else if (entry->orig_rax == SYS_madvise && entry->rdx == MADV_FREE) {
        /* Pages that are freed lazily keep or lose their contents at the kernel's whim; freed at once is allowed. */
        changed.rdx = MADV_DONTNEED;
        task->call = CALL_FREE;
    } else {
        begin_quiet(task);
        return true;
    }
    return tracee_set_registers(task->turn.tid, &changed) == 0;
}

/* What a task asks for is remembered, and undone before it runs on. */
static void follow_affinity(struct recorder *recorder, struct task *task, int64_t result)
{
    const uint64_t *arguments = task->arguments;
    size_t size = arguments[1] < recorder->affinity_bytes ? arguments[1] : recorder->affinity_bytes;
    struct task *subject = affinity_subject(recorder, task);
    if (!subject || result < 0) return;
    if (task->entry.orig_rax == SYS_sched_getaffinity) {
        tracee_write(task->turn.tid, arguments[2], &subject->affinity, size);
        return;
    }
    cpu_set_t own;
    CPU_ZERO(&own);
    if (result || sched_getaffinity(subject->turn.tid, sizeof subject->affinity, &subject->affinity)) return;
    if (sched_getaffinity(0, sizeof own, &own) == 0) sched_setaffinity(subject->turn.tid, sizeof own, &own);
}

void note_action(struct group *group, int signal, const struct kernel_sigaction *action)
{
    group->disposition[signal] = action->handler > 1 ? DISPOSITION_HANDLER : (uint8_t)action->handler;
    group->once[signal] = (action->flags & SA_RESETHAND) != 0;
    group->restarts[signal] = (action->flags & SA_RESTART) != 0;
    if (signal == SIGSEGV) group->on_segv = *action;
    if (signal == SIGBUS) group->on_bus = *action;
    if (signal == SIGILL) group->on_ill = *action;
    if (signal == SIGTRAP) group->on_trap = *action;
}

static void follow_call(struct recorder *recorder, struct task *task, int64_t result)
{
    const uint64_t *arguments = task->arguments;
    struct kernel_sigaction action;
    switch (task->entry.orig_rax) {
    case SYS_rt_sigaction:
        if (result == 0 && arguments[0] < SIGNALS && arguments[1] &&
            tracee_read(task->turn.tid, arguments[1], &action, sizeof action) == sizeof action) {
            note_action(task->group, (int)arguments[0], &action);
            if (arguments[0] == SIGSYS && action.handler) turn_off(recorder, task);
        }
        break;
    case SYS_rt_sigprocmask: note_mask(task); break;
    case SYS_seccomp:
        if (result >= 0) task->group->filtered = true;
        break;
    case SYS_prctl:
        if (arguments[0] == PR_SET_SECCOMP && result == 0) task->group->filtered = true;
        break;
    case SYS_set_tid_address: task->clear_child_tid = arguments[0]; break;
    case SYS_set_robust_list:
        if (result == 0) task->robust_list = arguments[0];
        break;
    default: break;
    }
}

/* How far the stack may grow is of its process, or of the one that prlimit names. */
static bool limits_stack(const struct task *task)
{
    const uint64_t *arguments = task->arguments;
    if (task->entry.orig_rax == SYS_setrlimit) return arguments[0] == RLIMIT_STACK;
    return task->entry.orig_rax == SYS_prlimit64 && arguments[1] == RLIMIT_STACK && arguments[2];
}

/* Whether policy must complete the event. */
static enum request needs_policy(struct recorder *recorder, const struct task *task, int64_t result)
{
    if (!task->row) return REQUEST_UNKNOWN;
    if (result < 0) return REQUEST_NONE;
    if (task->entry.orig_rax == SYS_mmap && !(task->arguments[3] & MAP_ANONYMOUS)) return REQUEST_MAP;
    if (task->entry.orig_rax == SYS_shmat || limits_stack(task)) return REQUEST_MAP;
    /* A mapping that grows shows more of its file. */
    bool grows = task->entry.orig_rax == SYS_mremap && task->arguments[2] > task->arguments[1];
    if (grows && recorder->watched_count) return REQUEST_MAP;
    if (task->entry.orig_rax == SYS_process_vm_writev) return REQUEST_WRITTEN;
    if ((task->entry.orig_rax == SYS_sendfile || task->entry.orig_rax == SYS_copy_file_range) && stream_of(task, result))
        return REQUEST_WRITTEN;
    bool changes = task->row->effect == EFFECT_WRITE || task->row->effect == EFFECT_TRUNCATE;
    return changes && recorder->watched_count && is_watched(recorder, task) ? REQUEST_WRITTEN : REQUEST_NONE;
}

static void add_output(struct recorder *recorder, pid_t tid, uint64_t address, size_t size)
{
    uint8_t data[8];
    if (!address || size > sizeof data || tracee_read(tid, address, data, size) != size) return;
    wire_unsigned(&recorder->extra, address);
    wire_binary(&recorder->extra, data, size);
    recorder->extra_pairs++;
}

struct clone_args read_clone_request(const struct task *task)
{
    struct clone_args request = {0};
    size_t size = task->arguments[1] < sizeof request ? task->arguments[1] : sizeof request;
    tracee_read(task->turn.tid, task->arguments[0], &request, size);
    return request;
}

/* clone3 writes where pointers in its argument point: a row of the specification cannot say that. */
static void add_clone_outputs(struct recorder *recorder, const struct task *task)
{
    struct clone_args request = read_clone_request(task);
    if (request.flags & CLONE_PARENT_SETTID) add_output(recorder, task->turn.tid, request.parent_tid, sizeof(pid_t));
    if (request.flags & CLONE_PIDFD) add_output(recorder, task->turn.tid, request.pidfd, sizeof(int));
}

static void put_sigreturn(struct recorder *recorder, struct task *task)
{
    static uint8_t area[XSTATE_BYTES];
    size_t size = sizeof area;
    /* What was interrupted behind a site may have been patched since. */
    uint64_t rip = space_moved(task->group->space, task->exit.rip);
    if (rip != task->exit.rip) {
        task->exit.rip = rip;
        tracee_set_registers(task->turn.tid, &task->exit);
    }
    struct user_regs_struct registers = task->exit;
    registers.orig_rax = (uint64_t)-1;
    note_mask(task);
    if (tracee_settle_xstate(task->turn.tid, area, &size, false)) size = 0;
    recorder_begin_event(recorder, EVENT_SYSCALL, task->turn.tid, 6);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, SYS_rt_sigreturn);
    wire_signed(events, (int64_t)registers.rax);
    wire_unsigned(events, task->site);
    wire_array(events, 0);
    wire_array(events, 4);
    /* Stored as inputs at addresses 0 and 1: the registers and extended state that the call brought back. */
    wire_unsigned(events, 0);
    wire_binary(events, &registers, sizeof registers);
    wire_unsigned(events, 1);
    wire_binary(events, area, size);
    wire_array(events, 0);
}

void complete_call(struct recorder *recorder, struct task *task, int64_t result)
{
    if (!is_restart(result)) patch_sites(recorder, task), patch_clock(recorder, task);
    put_call(recorder, task, result);
}

enum request leave_call(struct recorder *recorder, struct task *task)
{
    end_quiet(task);
    if (tracee_get_registers(task->turn.tid, &task->exit)) return REQUEST_NONE;
    task->in_call = false;
    task->at_boundary = true;
    if (task->executed) {
        task->executed = false;
        task->group->patch_count = 0;
        for (unsigned i = 0; i < SIGNALS; i++)
            if (task->group->disposition[i] == DISPOSITION_HANDLER) task->group->disposition[i] = DISPOSITION_DEFAULT;
        task->clear_child_tid = task->robust_list = 0;
        release_space(task->group->space);
        task->group->space = new_space(NULL);
        if (!task->group->space) return REQUEST_FAILED;
        task->group->undumpable = task->group->unsettled = false;
        check_streams(task);
        recorder->subject = task;
        return REQUEST_EXEC;
    }
    struct user_regs_struct fixed = task->exit;
    if (task->call == CALL_CANCELLED) {
        fixed.rip -= SYSCALL_INSTRUCTION_BYTES;
        fixed.rax = task->entry.orig_rax;
        fixed.orig_rax = (uint64_t)-1;
        tracee_set_registers(task->turn.tid, &fixed);
        task->at_boundary = task->cancels = false;
        task->injecting = choose_before_call(task, task->entry.orig_rax, &task->entry);
        task->resume_signal = task->injecting ? task->held[0].si_signo : 0;
        return REQUEST_NONE;
    }
    int64_t result = (int64_t)task->exit.rax;
    if (task->call == CALL_AFFINITY) follow_affinity(recorder, task, result);
    if (task->call == CALL_FREE || task->call == CALL_ANSWERED || task->call == CALL_REFUSED) {
        if (task->call != CALL_FREE && is_spoilt(result)) result = task->call == CALL_ANSWERED ? task->answer : -ENOSYS;
        restore_arguments(&fixed, &task->entry);
        fixed.rax = (uint64_t)result;
        tracee_set_registers(task->turn.tid, &fixed);
        task->exit = fixed;
    }
    if (task->entry.orig_rax == SYS_rt_sigreturn) {
        put_sigreturn(recorder, task);
        /* Amid its code, where a loop comes by again. */
        task->at_boundary = tracee_at_call(task->turn.tid, task->exit.rip - SYSCALL_INSTRUCTION_BYTES);
        return REQUEST_NONE;
    }
    follow_call(recorder, task, result);
    if (result == -ERESTART_RESTARTBLOCK_ && task->entry.orig_rax != SYS_restart_syscall) {
        task->restart_row = task->row;
        memcpy(task->restart_arguments, task->arguments, sizeof task->arguments);
    }
    enum request request = needs_policy(recorder, task, result);
    if (task->entry.orig_rax == SYS_clone3 && result > 0) add_clone_outputs(recorder, task);
    if (request == REQUEST_NONE) {
        complete_call(recorder, task, result);
    } else {
        recorder->subject = task;
        recorder->result = result;
        recorder->deferred = true;
    }
    return request;
}

/* A futex with priority inheritance is marked when a task begins to wait for it (futex_lock_pi_atomic,
   kernel/futex/pi.c); its owner acts on that before the wait is over. The next call in this memory carries it. */
void note_mark(struct task *task)
{
    uint64_t operation = task->arguments[1] & FUTEX_CMD_MASK, address = task->arguments[0];
    bool marks = task->in_call && task->entry.orig_rax == SYS_futex && (operation == FUTEX_LOCK_PI || operation == FUTEX_LOCK_PI2_);
    if (marks && tracee_read(task->turn.tid, address, &task->mark, sizeof task->mark) == sizeof task->mark) task->marked = address;
}
