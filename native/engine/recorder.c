#define _GNU_SOURCE
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"
#include "instruction.h"
#include "transfer.h"

enum {
    FLUSH_BYTES = 1 << 20,
    FLUSH_NANOSECONDS = 250 * 1000 * 1000,
    SLICE_NANOSECONDS = 10 * 1000 * 1000,
    YIELDS = 4,
    DOUBLINGS = 10,
    FRAME_LIMIT = 65536,
    HELD_NANOSECONDS = 1000 * 1000 * 1000,
};

/* Since Linux 5.9; not in older headers. */
enum { CLOSE_RANGE_UNSHARE_ = 2, CLOSE_RANGE_CLOEXEC_ = 4 };
/* Since Linux 5.14. */
enum { FUTEX_LOCK_PI2_ = 13 };

#define PTRACE_OPTIONS                                                                                              \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
     PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)

_Static_assert(sizeof(siginfo_t) == 128, "siginfo_t");

/* A real system call: the vDSO reads the time stamp counter, which faults while the loop runs. */
static void read_clock(struct timespec *now) { syscall(SYS_clock_gettime, CLOCK_MONOTONIC, now); }

static uint64_t nanoseconds(const struct timespec *from, const struct timespec *to)
{
    return (uint64_t)(to->tv_sec - from->tv_sec) * 1000000000u + (uint64_t)to->tv_nsec - (uint64_t)from->tv_nsec;
}

static void note_affinity(struct recorder *recorder)
{
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof recorder->affinity, &recorder->affinity);
    recorder->affinity_bytes = bytes > 0 ? (size_t)bytes : 0;
}

void recorder_initialise(struct recorder *recorder)
{
    memset(recorder, 0, sizeof *recorder);
    read_clock(&recorder->start);
    recorder->last_flush = recorder->start;
    recorder->scheduler.slice = SLICE_NANOSECONDS;
    recorder->wait = recorder->follow_forks = true;
    note_affinity(recorder);
    for (int i = 1; i < 3; i++) {
        struct stat status;
        bool terminal = isatty(i) == 1;
        /* A null device is everybody's; writing to it is not our output. */
        if (fstat(i, &status) == 0 && (terminal || !S_ISCHR(status.st_mode)))
            recorder->own_stream[i] = (struct file_identity){status.st_dev, status.st_ino};
    }
}

static struct task *first_task(const struct recorder *recorder) { return (struct task *)recorder->scheduler.first; }

static struct task *next_task(const struct task *task) { return (struct task *)task->turn.next; }

struct task *recorder_find(const struct recorder *recorder, pid_t tid) { return (struct task *)scheduler_find(&recorder->scheduler, tid); }

static struct descriptors *new_descriptors(const struct descriptors *like)
{
    struct descriptors *descriptors = calloc(1, sizeof *descriptors);
    if (!descriptors) return NULL;
    if (like) *descriptors = *like;
    descriptors->users = 1;
    return descriptors;
}

static void release_descriptors(struct descriptors *descriptors)
{
    if (descriptors && --descriptors->users == 0) free(descriptors);
}

/* Gives a task a table of its own, as unshare(CLONE_FILES) and execve do. */
static void unshare_descriptors(struct task *task)
{
    struct descriptors *own = task->descriptors->users > 1 ? new_descriptors(task->descriptors) : NULL;
    if (!own) return;
    release_descriptors(task->descriptors);
    task->descriptors = own;
}

static void remove_task(struct recorder *recorder, struct task *task)
{
    scheduler_remove(&recorder->scheduler, &task->turn);
    if (task->group && --task->group->tasks == 0) {
        recorder->ended[recorder->ended_count++ % ENDED] = task->group->pid;
        free(task->group);
    }
    release_descriptors(task->descriptors);
    buffer_free(&task->inputs);
    free(task);
}

bool recorder_knows(const struct recorder *recorder, pid_t pid)
{
    for (const struct task *task = first_task(recorder); task; task = next_task(task))
        if (task->group && task->group->pid == pid) return true;
    for (unsigned i = 0; i < ENDED; i++)
        if (pid && recorder->ended[i] == pid) return true;
    return false;
}

void recorder_free(struct recorder *recorder)
{
    while (first_task(recorder)) remove_task(recorder, first_task(recorder));
    buffer_free(&recorder->events);
    buffer_free(&recorder->extra);
    buffer_free(&recorder->sent);
    free(recorder->watched);
}

static struct task *add_task(struct recorder *recorder, pid_t tid)
{
    struct task *task = calloc(1, sizeof *task);
    if (!task) return NULL;
    task->turn.tid = tid;
    task->affinity = recorder->affinity;
    scheduler_add(&recorder->scheduler, &task->turn);
    return task;
}

static struct group *new_group(pid_t pid, const struct group *like)
{
    struct group *group = calloc(1, sizeof *group);
    if (!group) return NULL;
    if (like) *group = *like;
    group->pid = pid;
    group->tasks = 0;
    return group;
}

static void join_group(struct task *task, struct group *group)
{
    task->group = group;
    group->tasks++;
}

void recorder_begin_event(struct recorder *recorder, unsigned kind, pid_t task, size_t items)
{
    struct timespec now;
    read_clock(&now);
    uint64_t time = nanoseconds(&recorder->start, &now) / 1000;
    wire_array(&recorder->events, 3 + items);
    wire_unsigned(&recorder->events, kind);
    wire_unsigned(&recorder->events, (uint64_t)task);
    wire_unsigned(&recorder->events, time - recorder->last_time);
    recorder->last_time = time;
    recorder->event_count++;
}

static void note_mask(struct task *task) { ptrace(PTRACE_GETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask); }

static void child_main(const char *path, char *const argv[], char *const envp[], int gate, int report)
{
    char go;
    if (read(gate, &go, 1) != 1) _exit(127);
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
    /* CPython starts with these two ignored, and exec would pass that on. */
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    execve(path, argv, envp);
    int error = errno;
    ssize_t written = write(report, &error, sizeof error);
    _exit(written == sizeof error ? 127 : 126);
}

int recorder_spawn(struct recorder *recorder, const char *path, char *const argv[], char *const envp[])
{
    int gate[2], report[2];
    if (pipe2(gate, O_CLOEXEC)) return -errno;
    if (pipe2(report, O_CLOEXEC)) {
        int error = errno;
        close(gate[0]), close(gate[1]);
        return -error;
    }
    pid_t pid = fork();
    if (pid == 0) child_main(path, argv, envp, gate[0], report[1]);
    int error = pid < 0 ? errno : 0;
    close(gate[0]);
    close(report[1]);
    if (!error && ptrace(PTRACE_SEIZE, pid, 0, PTRACE_OPTIONS) == -1) {
        error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
        pid = -1;
    }
    struct task *task = error ? NULL : add_task(recorder, pid);
    struct group *group = task ? new_group(pid, NULL) : NULL;
    if (group) task->descriptors = new_descriptors(NULL);
    if (!error && (!group || !task->descriptors)) error = ENOMEM;
    if (!error) {
        join_group(task, group);
        task->descriptors->stream[1] = 1;
        task->descriptors->stream[2] = 2;
        task->started = true;
        task->turn.state = TASK_RUNNING;
        recorder->scheduler.current = &task->turn;
        recorder->root = pid;
        char go = 1;
        int status = 0;
        if (write(gate[1], &go, 1) != 1) error = errno;
        if (!tracee_wait(pid, &status)) error = errno;
        int reported = 0;
        if (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT && read(report[0], &reported, sizeof reported) == sizeof reported) {
            ptrace(PTRACE_CONT, pid, 0, 0);
            waitpid(pid, &status, __WALL);
            error = reported;
        } else if (!error && !(WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXEC)) {
            error = ECHILD;
        }
        if (!error) {
            task->in_call = true;
            task->executed = true;
            task->turn.state = TASK_READY;
            note_mask(task);
        }
    }
    if (error && pid > 0) kill(pid, SIGKILL), waitpid(pid, NULL, __WALL | WNOHANG);
    close(gate[1]);
    close(report[0]);
    return error ? -error : pid;
}

/* Descriptors of the program that are the recorder's stdout and stderr. */

static bool stat_descriptor(pid_t pid, int64_t descriptor, struct stat *status)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, (int)descriptor);
    return stat(path, status) == 0;
}

/* A name like /dev/stdout opens the same file once more. */
static uint8_t opened_stream(const struct recorder *recorder, const struct task *task, int64_t descriptor)
{
    struct stat status;
    if (!stat_descriptor(task->turn.tid, descriptor, &status)) return 0;
    for (uint8_t i = 1; i < 3; i++)
        if (recorder->own_stream[i].inode == status.st_ino && recorder->own_stream[i].device == status.st_dev) return i;
    return 0;
}

bool recorder_watch(struct recorder *recorder, dev_t device, ino_t inode)
{
    struct file_identity *watched = realloc(recorder->watched, (recorder->watched_count + 1) * sizeof *watched);
    if (!watched) return false;
    recorder->watched = watched;
    watched[recorder->watched_count++] = (struct file_identity){device, inode};
    return true;
}

/* What is written to /proc/PID/mem changes memory. */
static void watch_memory_file(struct recorder *recorder, const struct task *task, int64_t result)
{
    static const char name[] = "mem";
    struct stat status;
    if (task->row->effect != EFFECT_OPEN || result < 0 || task->inputs.size < sizeof name) return;
    if (memcmp(task->inputs.data + task->inputs.size - sizeof name, name, sizeof name) != 0) return;
    char path[48], target[64] = "";
    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->group->pid, (int)result);
    if (readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "/proc/", 6) == 0 && stat(path, &status) == 0)
        recorder_watch(recorder, status.st_dev, status.st_ino);
}

static void follow_streams(const struct recorder *recorder, struct task *task, int64_t result)
{
    const struct syscall_row *row = task->row;
    const uint64_t *arguments = task->arguments;
    bool unshares = task->entry.orig_rax == SYS_unshare && arguments[0] & CLONE_FILES;
    if (row->effect == EFFECT_CLOSE_RANGE && arguments[2] & CLOSE_RANGE_UNSHARE_) unshares = true;
    if (unshares && result == 0) unshare_descriptors(task);
    uint8_t *stream = task->descriptors->stream;
    uint64_t from = arguments[0], to = arguments[1];
    uint8_t source = from < STREAM_DESCRIPTORS ? stream[from] : 0;
    switch (row->effect) {
    case EFFECT_OPEN:
        if (result >= 0 && result < STREAM_DESCRIPTORS) stream[result] = opened_stream(recorder, task, result);
        break;
    case EFFECT_DUP:
        if (result >= 0 && result < STREAM_DESCRIPTORS) stream[result] = source;
        break;
    case EFFECT_DUP_TO:
        if (result >= 0 && to < STREAM_DESCRIPTORS) stream[to] = source;
        break;
    case EFFECT_CLOSE:
        if (from < STREAM_DESCRIPTORS) stream[from] = 0;
        break;
    case EFFECT_CLOSE_RANGE:
        if (result == 0 && !(arguments[2] & CLOSE_RANGE_CLOEXEC_))
            for (uint64_t i = from; i <= to && i < STREAM_DESCRIPTORS; i++) stream[i] = 0;
        break;
    default: break;
    }
}

/* After exec the descriptors marked close-on-exec are gone; what is left is known by the kernel's open file. */
static void check_streams(struct task *task)
{
    unshare_descriptors(task);
    for (unsigned i = 0; i < STREAM_DESCRIPTORS; i++) {
        char path[48];
        struct stat ignored;
        snprintf(path, sizeof path, "/proc/%d/fd/%u", task->turn.tid, i);
        if (task->descriptors->stream[i] && lstat(path, &ignored)) task->descriptors->stream[i] = 0;
    }
}

/* Encoding of one system call. */

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
    return other->marked && other != task && other->group->memory == task->group->memory;
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

static unsigned stream_of(const struct task *task, int64_t result)
{
    if (!task->row || task->row->effect != EFFECT_WRITE || result <= 0) return 0;
    uint64_t descriptor = task->arguments[task->row->effect_arg];
    return descriptor < STREAM_DESCRIPTORS ? task->descriptors->stream[descriptor] : 0;
}

static void put_call(struct recorder *recorder, struct task *task, int64_t result)
{
    unsigned count = task->row ? task->row->argument_count : 6;
    unsigned stream = stream_of(task, result);
    bool sent = stream && recorder->sent.size;
    recorder_begin_event(recorder, EVENT_SYSCALL, task->turn.tid, sent ? 8 : stream ? 7 : 6);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, task->entry.orig_rax);
    wire_signed(events, result);
    wire_unsigned(events, task->entry.rip);
    wire_array(events, count);
    for (unsigned i = 0; i < count; i++) wire_unsigned(events, task->arguments[i]);
    wire_array(events, 2 * task->input_pairs);
    buffer_append(events, task->inputs.data, task->inputs.size);
    put_outputs(recorder, task, result);
    if (stream) wire_unsigned(events, stream);
    if (sent) wire_binary(events, recorder->sent.data, recorder->sent.size);
    recorder->sent.size = 0;
    if (!task->row) return;
    follow_streams(recorder, task, result);
    watch_memory_file(recorder, task, result);
}

/* Entry and exit of a call. */

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

static void answer_call(struct task *task, struct user_regs_struct *registers, int64_t answer)
{
    spoil_call(registers);
    task->call = CALL_ANSWERED;
    task->answer = answer;
}

/* Brings the first held signal that is not blocked to the front: a handler that runs may block others until it
   returns. */
static bool choose_held(struct task *task)
{
    uint64_t mask = 0;
    if (!task->held_count || ptrace(PTRACE_GETSIGMASK, task->turn.tid, sizeof mask, &mask) == -1) return false;
    for (unsigned i = 0; i < task->held_count; i++) {
        siginfo_t info = task->held[i];
        if (mask & UINT64_C(1) << (info.si_signo - 1)) continue;
        memmove(task->held + 1, task->held, i * sizeof *task->held);
        task->held[0] = info;
        return true;
    }
    return false;
}

/* `int 0x80` numbers its calls as 32-bit programs do. The syscall instruction leaves its own end in rcx. */
static bool is_compatibility_call(const struct task *task)
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

static bool enter_call(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct *entry = &task->entry;
    task->in_call = true;
    task->at_boundary = false;
    task->call = CALL_PLAIN;
    uint64_t arguments[6] = {entry->rdi, entry->rsi, entry->rdx, entry->r10, entry->r8, entry->r9};
    memcpy(task->arguments, arguments, sizeof arguments);
    if (task->cancels) {
        task->call = CALL_CANCELLED;
        return true;
    }
    task->row = row_of(entry->orig_rax, arguments);
    narrow_arguments(task->row, task->arguments);
    task->inputs.size = task->input_pairs = 0;
    if (!task->row) return true;
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

static void follow_call(struct task *task, int64_t result)
{
    const uint64_t *arguments = task->arguments;
    struct kernel_sigaction action;
    switch (task->entry.orig_rax) {
    case SYS_rt_sigaction:
        if (result == 0 && arguments[0] < SIGNALS && arguments[1] &&
            tracee_read(task->turn.tid, arguments[1], &action, sizeof action) == sizeof action) {
            task->group->disposition[arguments[0]] = action.handler > 1 ? DISPOSITION_HANDLER : (uint8_t)action.handler;
            task->group->once[arguments[0]] = (action.flags & SA_RESETHAND) != 0;
            if (arguments[0] == SIGSEGV) task->group->on_segv = action;
            if (arguments[0] == SIGILL) task->group->on_ill = action;
        }
        break;
    case SYS_rt_sigprocmask: note_mask(task); break;
    case SYS_set_tid_address: task->clear_child_tid = arguments[0]; break;
    case SYS_set_robust_list:
        if (result == 0) task->robust_list = arguments[0];
        break;
    default: break;
    }
}

static bool is_watched(const struct recorder *recorder, const struct task *task)
{
    struct stat status;
    if (!stat_descriptor(task->turn.tid, (int64_t)task->arguments[task->row->effect_arg], &status)) return false;
    for (size_t i = 0; i < recorder->watched_count; i++)
        if (recorder->watched[i].device == status.st_dev && recorder->watched[i].inode == status.st_ino) return true;
    return false;
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

static struct clone_args read_clone_request(const struct task *task)
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
    struct user_regs_struct registers = task->exit;
    registers.orig_rax = (uint64_t)-1;
    note_mask(task);
    if (tracee_get_xstate(task->turn.tid, area, &size)) size = 0;
    recorder_begin_event(recorder, EVENT_SYSCALL, task->turn.tid, 6);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, SYS_rt_sigreturn);
    wire_signed(events, (int64_t)registers.rax);
    wire_unsigned(events, task->entry.rip);
    wire_array(events, 0);
    wire_array(events, 4);
    /* Stored as inputs at addresses 0 and 1: the registers and extended state that the call brought back. */
    wire_unsigned(events, 0);
    wire_binary(events, &registers, sizeof registers);
    wire_unsigned(events, 1);
    wire_binary(events, area, size);
    wire_array(events, 0);
}

static enum request leave_call(struct recorder *recorder, struct task *task)
{
    if (tracee_get_registers(task->turn.tid, &task->exit)) return REQUEST_NONE;
    task->in_call = false;
    task->at_boundary = true;
    if (task->executed) {
        task->executed = false;
        task->group->patch_count = 0;
        for (unsigned i = 0; i < SIGNALS; i++)
            if (task->group->disposition[i] == DISPOSITION_HANDLER) task->group->disposition[i] = DISPOSITION_DEFAULT;
        task->clear_child_tid = task->robust_list = 0;
        task->group->memory = ++recorder->last_memory;
        task->group->undumpable = false;
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
        task->injecting = true;
        task->resume_signal = task->held[0].si_signo;
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
        return REQUEST_NONE;
    }
    follow_call(task, result);
    if (result == -ERESTART_RESTARTBLOCK_ && task->entry.orig_rax != SYS_restart_syscall) {
        task->restart_row = task->row;
        memcpy(task->restart_arguments, task->arguments, sizeof task->arguments);
    }
    enum request request = needs_policy(recorder, task, result);
    if (task->entry.orig_rax == SYS_clone3 && result > 0) add_clone_outputs(recorder, task);
    if (request == REQUEST_NONE) {
        put_call(recorder, task, result);
    } else {
        recorder->subject = task;
        recorder->result = result;
        recorder->deferred = true;
    }
    return request;
}

/* Signals. */

static bool is_fault(int signal, const siginfo_t *info)
{
    return info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGTRAP);
}

static bool is_harmless_by_default(int signal)
{
    return signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT;
}

static bool stops_by_default(int signal)
{
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static void put_instruction(struct recorder *recorder, struct task *task, uint64_t address, const struct instruction *instruction)
{
    recorder_begin_event(recorder, EVENT_INSTRUCTION, task->turn.tid, 4);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, address);
    wire_text(events, instruction->name);
    wire_unsigned(events, instruction->length);
    wire_array(events, 2 * instruction->changes);
    for (unsigned i = 0; i < instruction->changes; i++) {
        wire_unsigned(events, instruction->index[i]);
        wire_unsigned(events, instruction->value[i]);
    }
}

/* The fault that stands for an instruction is forced on the program: one that blocks or ignores the signal loses that, and
   its handler with it (force_sig_info_to_task, kernel/signal.c). Puts both back. */
static void undo_force(struct task *task, int signal)
{
    uint8_t disposition = task->group->disposition[signal];
    bool blocked = task->mask & UINT64_C(1) << (signal - 1);
    if (!blocked && disposition != DISPOSITION_IGNORE) return;
    if (disposition != DISPOSITION_DEFAULT) {
        const struct kernel_sigaction *action = signal == SIGSEGV ? &task->group->on_segv : &task->group->on_ill;
        struct user_regs_struct registers;
        struct kernel_sigaction saved;
        bool dead;
        if (tracee_get_registers(task->turn.tid, &registers)) return;
        uint64_t room = registers.rsp - 1024; /* below the red zone */
        if (tracee_read(task->turn.tid, room, &saved, sizeof saved) != sizeof saved) return;
        const uint64_t arguments[6] = {(uint64_t)signal, room, 0, 8};
        tracee_write(task->turn.tid, room, action, sizeof *action);
        tracee_inject(task->turn.tid, SYS_rt_sigaction, arguments, &dead);
        if (dead) return;
        tracee_write(task->turn.tid, room, &saved, sizeof saved);
    }
    ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask);
}

static bool emulate(struct recorder *recorder, struct task *task, int signal)
{
    struct user_regs_struct registers;
    if (tracee_get_registers(task->turn.tid, &registers)) return false;
    uint8_t code[16];
    size_t size = tracee_read(task->turn.tid, registers.rip, code, sizeof code);
    if (signal == SIGILL) {
        size = 0;
        for (size_t i = 0; i < task->group->patch_count; i++)
            if (task->group->patches[i].address == registers.rip) {
                memcpy(code, task->group->patches[i].original, sizeof code);
                size = sizeof code;
            }
    }
    struct instruction instruction;
    if (!instruction_emulate(code, size, &registers, &instruction)) return false;
    put_instruction(recorder, task, registers.rip, &instruction);
    if (!instruction_apply(&instruction, &registers) || tracee_set_registers(task->turn.tid, &registers)) return false;
    undo_force(task, signal);
    return true;
}

/* The frame that the kernel has just built: from the stack pointer to the end of the saved extended state. The
   pointer to that state is 232 bytes into struct rt_sigframe (arch/x86/include/asm/sigframe.h: pretcode 8, ucontext
   up to uc_mcontext 40, fpstate 184 into struct sigcontext); its own size is at 464 + 4 in the software-reserved
   bytes (struct _fpx_sw_bytes.extended_size). */
static uint64_t frame_size(pid_t tid, uint64_t stack)
{
    uint64_t state = 0;
    uint32_t size = 0;
    if (tracee_read(tid, stack + 232, &state, sizeof state) != sizeof state || state < stack) return 1024;
    if (tracee_read(tid, state + 468, &size, sizeof size) != sizeof size) size = 512;
    uint64_t whole = state + size - stack;
    return whole < FRAME_LIMIT ? whole : FRAME_LIMIT;
}

static void put_signal(struct recorder *recorder, struct task *task, const siginfo_t *info, enum signal_place place)
{
    static uint8_t area[XSTATE_BYTES];
    struct user_regs_struct registers;
    if (tracee_get_registers(task->turn.tid, &registers)) return;
    size_t size = sizeof area;
    if (tracee_get_xstate(task->turn.tid, area, &size)) size = 0;
    note_mask(task);
    recorder_begin_event(recorder, EVENT_SIGNAL, task->turn.tid, task->frameless ? 8 : 7);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, (uint64_t)info->si_signo);
    wire_unsigned(events, place);
    wire_binary(events, info, sizeof *info);
    registers.orig_rax = (uint64_t)-1;
    wire_binary(events, &registers, sizeof registers);
    wire_binary(events, area, size);
    wire_unsigned(events, registers.rsp);
    uint64_t frame = frame_size(task->turn.tid, registers.rsp);
    uint8_t *copy = malloc(frame);
    size_t got = copy ? tracee_read(task->turn.tid, registers.rsp, copy, frame) : 0;
    wire_binary(events, copy, got);
    free(copy);
    if (task->frameless) wire_unsigned(events, (uint64_t)task->frameless);
    task->frameless = 0;
}

/* `settled`: the task has not run since its last event, or stands at its next one. */
static void deliver(struct recorder *recorder, struct task *task, const siginfo_t *info, enum signal_place place, bool settled)
{
    int signal = info->si_signo;
    struct group *group = task->group;
    if (signal < 0 || signal >= SIGNALS || group->disposition[signal] != DISPOSITION_HANDLER) {
        bool ignored = signal > 0 && signal < SIGNALS && group->disposition[signal] == DISPOSITION_IGNORE;
        task->resume_signal = signal;
        bool fatal = !ignored && !is_harmless_by_default(signal) && !stops_by_default(signal);
        task->fatal_behind = fatal && settled && place == PLACE_BEHIND_EVENT;
        task->fatal_fault = place == PLACE_FAULT || (place == PLACE_AT_ENTRY && fatal);
        return;
    }
    /* Stepping stops at the first instruction of the handler, before it has run (signal_setup_done). */
    int status;
    if (ptrace(PTRACE_SINGLESTEP, task->turn.tid, 0, signal) == -1 || !tracee_wait(task->turn.tid, &status)) return;
    if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP && status >> 16 == 0) {
        if (group->once[signal]) group->disposition[signal] = DISPOSITION_DEFAULT;
        put_signal(recorder, task, info, place);
        tracee_get_registers(task->turn.tid, &task->exit);
        task->at_boundary = true;
    } else {
        /* The frame does not fit: SIGSEGV comes instead (signal_setup_done, kernel/signal.c). Or it dies of it: the kernel
           forces a fault on a task that blocks its signal, without the handler (force_sig_info_to_task). */
        bool instead = WIFSTOPPED(status) && WSTOPSIG(status) == SIGSEGV && status >> 16 == 0;
        if (instead && !task->frameless) {
            task->frameless = signal;
            task->frameless_place = place;
        }
        task->fatal_fault = place != PLACE_BEHIND_EVENT;
        task->fatal_behind = settled && place == PLACE_BEHIND_EVENT;
        task->turn.state = TASK_PENDING;
        task->status = status;
    }
}

/* Whether the task has not run since its last event. */
static bool is_behind_event(const struct task *task, const struct user_regs_struct *present)
{
    return task->at_boundary && present->rip == task->exit.rip && present->rsp == task->exit.rsp && present->rcx == task->exit.rcx;
}

static enum request begin_exit(struct recorder *recorder, struct task *task, int status)
{
    recorder->subject = task;
    recorder->exit_status = status;
    recorder->exiting = true;
    return REQUEST_EXITING;
}

/* The first process of a pid namespace. Its ids from namespace to namespace stand in NSpid; the last is that of the innermost. */
static bool is_namespace_init(pid_t pid)
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

/* A fault that nobody handles does not end the first process of a namespace while it is traced (force_sig_info_to_task,
   kernel/signal.c): it is let go to make its fault again. */
static bool ends_untraced(const struct task *task, int signal)
{
    return task->group->disposition[signal] != DISPOSITION_HANDLER && task->group->tasks == 1 && is_namespace_init(task->group->pid);
}

static enum request stop_by_signal(struct recorder *recorder, struct task *task, int signal)
{
    siginfo_t info;
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETSIGINFO, task->turn.tid, 0, &info) == -1) return REQUEST_NONE;
    if (signal == SIGSEGV && info.si_code == SI_KERNEL && task->frameless) {
        deliver(recorder, task, &info, task->frameless_place, true);
        return REQUEST_NONE;
    }
    if (signal == SIGSEGV && info.si_code == SI_KERNEL && emulate(recorder, task, signal)) return REQUEST_NONE;
    if (signal == SIGILL && is_fault(signal, &info) && emulate(recorder, task, signal)) return REQUEST_NONE;
    if (task->injecting && signal == task->held[0].si_signo) {
        task->injecting = false;
        info = task->held[0];
        memmove(task->held, task->held + 1, --task->held_count * sizeof *task->held);
        ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, &info);
        deliver(recorder, task, &info, PLACE_AT_ENTRY, true);
        return REQUEST_NONE;
    }
    if (is_fault(signal, &info)) {
        if (ends_untraced(task, signal)) {
            task->fatal_fault = true;
            return begin_exit(recorder, task, signal);
        }
        deliver(recorder, task, &info, PLACE_FAULT, true);
        return REQUEST_NONE;
    }
    if (tracee_get_registers(task->turn.tid, &registers)) return REQUEST_NONE;
    uint8_t disposition = signal < SIGNALS ? task->group->disposition[signal] : 0;
    bool boundary = is_behind_event(task, &registers);
    bool no_handler = disposition != DISPOSITION_HANDLER;
    if (boundary || no_handler || task->held_count == MAX_HELD) deliver(recorder, task, &info, PLACE_BEHIND_EVENT, boundary);
    else {
        if (!task->held_count) read_clock(&task->held_since);
        task->held[task->held_count++] = info;
    }
    return REQUEST_NONE;
}

/* Tasks. */

static void note_end(struct recorder *recorder, pid_t tid, int status)
{
    if (tid != recorder->root) return;
    recorder->root_status = status;
    recorder->root_ended = true;
}

static void let_go(struct task *task);

/* A child that is not recorded from its beginning; what its parent sees of it is recorded with the parent. */
static void leave_child(struct recorder *recorder, struct task *child)
{
    if (WIFSTOPPED(child->status)) let_go(child);
    remove_task(recorder, child);
}

static enum request spawned(struct recorder *recorder, struct task *parent, int event)
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
    if (!(flags & CLONE_VM)) group->memory = ++recorder->last_memory;
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
    recorder_begin_event(recorder, EVENT_SPAWN, tid, 3);
    wire_unsigned(&recorder->events, (uint64_t)parent->turn.tid);
    wire_unsigned(&recorder->events, flags);
    wire_unsigned(&recorder->events, (uint64_t)group->pid);
    return REQUEST_NONE;
}

static void start(struct recorder *recorder, struct task *task)
{
    uint32_t tid = 0;
    struct user_regs_struct registers;
    if (tracee_get_registers(task->turn.tid, &registers)) return;
    registers.orig_rax = (uint64_t)-1;
    task->exit = registers;
    task->started = task->at_boundary = true;
    bool written = task->set_child_tid && tracee_read(task->turn.tid, task->set_child_tid, &tid, sizeof tid) == sizeof tid;
    recorder_begin_event(recorder, EVENT_START, task->turn.tid, 2);
    wire_array(&recorder->events, written ? 2 : 0);
    if (written) {
        wire_unsigned(&recorder->events, task->set_child_tid);
        wire_binary(&recorder->events, &tid, sizeof tid);
    }
    wire_binary(&recorder->events, &registers, sizeof registers);
}

static const struct task *peer_of(const struct recorder *recorder, const struct task *task)
{
    for (const struct task *other = first_task(recorder); other; other = next_task(other))
        if (other != task && other->group && other->group->memory == task->group->memory) return other;
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
    put_cleared(recorder, task, words);
    /* Whether it had come to its next stop, or died behind its last event (docs/trace-format.md). */
    bool arrived = task->in_call || task->fatal_fault;
    recorder_begin_event(recorder, EVENT_EXIT, task->turn.tid, 3);
    struct buffer *events = &recorder->events;
    wire_unsigned(events, (uint64_t)status);
    wire_unsigned(events, arrived);
    wire_array(events, 2 * words->pairs);
    buffer_append(events, words->outputs.data, words->outputs.size);
    buffer_free(&words->outputs);
}

/* A call that a fatal signal has interrupted returns to nobody, but may have written: output, and how long it would have
   slept on. It has no stop of its own then (ptrace_stop, kernel/signal.c), and is still at -ENOSYS if it never ran. */
static void finish_interrupted(struct recorder *recorder, struct task *task)
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
static void vanish(struct recorder *recorder, struct task *task, int status)
{
    if (task->group && task->started) {
        const struct task *peer = peer_of(recorder, task);
        struct last_words words = {.tid = (uint32_t)task->turn.tid};
        if (peer) put_robust_list(task, peer->turn.tid, &words);
        put_exit(recorder, task, status, &words);
    }
    remove_task(recorder, task);
}

static void finish_exit(struct recorder *recorder)
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

static bool group_stopped(int status)
{
    int signal = WSTOPSIG(status);
    return status >> 16 == PTRACE_EVENT_STOP && stops_by_default(signal);
}

static enum request checksum_due(struct recorder *recorder, struct task *task)
{
    if (!recorder->checksum_every || recorder->event_count < recorder->next_checksum || task->call == CALL_CANCELLED) return REQUEST_NONE;
    recorder->next_checksum = recorder->event_count + recorder->checksum_every;
    recorder->subject = task;
    return REQUEST_CHECKSUM;
}

/* At the entry of a call. */
static enum request arrive(struct recorder *recorder, struct task *task)
{
    if (tracee_get_registers(task->turn.tid, &task->entry)) return REQUEST_FAILED;
    if (is_compatibility_call(task)) {
        recorder->subject = task;
        task->in_call = true;
        return REQUEST_COMPATIBILITY;
    }
    if (!enter_call(recorder, task)) return REQUEST_FAILED;
    if (task->entry.orig_rax == SYS_sched_yield) scheduler_yield(&recorder->scheduler);
    return checksum_due(recorder, task);
}

/* The task waits for SIGCONT. Where it stands behind its last event, replay must hold it there; one that was stopped amid
   computation goes on to its next call first. */
static void stop(struct recorder *recorder, struct task *task, int signal)
{
    struct user_regs_struct registers;
    if (!task->stopped && tracee_get_registers(task->turn.tid, &registers) == 0 && is_behind_event(task, &registers)) {
        recorder_begin_event(recorder, EVENT_STOPPED, task->turn.tid, 1);
        wire_unsigned(&recorder->events, (uint64_t)signal);
        task->stopped = true;
        task->fatal_behind = true;
    }
    ptrace(PTRACE_LISTEN, task->turn.tid, 0, 0);
    task->turn.state = TASK_BLOCKED;
}

static void continue_stopped(struct recorder *recorder, struct task *task)
{
    recorder_begin_event(recorder, EVENT_CONTINUED, task->turn.tid, 0);
    task->stopped = task->fatal_behind = false;
}

/* Takes in a stop of `task`; afterwards it is READY, unless it says otherwise. */
static enum request handle(struct recorder *recorder, struct task *task, int status)
{
    task->turn.state = TASK_READY;
    if (!WIFSTOPPED(status)) {
        vanish(recorder, task, status);
        return REQUEST_NONE;
    }
    int event = status >> 16;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        return task->in_call ? leave_call(recorder, task) : arrive(recorder, task);
    }
    switch (event) {
    case 0: return stop_by_signal(recorder, task, WSTOPSIG(status));
    case PTRACE_EVENT_EXEC: task->executed = true; return REQUEST_NONE;
    case PTRACE_EVENT_CLONE:
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK: return spawned(recorder, task, event);
    case PTRACE_EVENT_EXIT: {
        unsigned long message = 0;
        ptrace(PTRACE_GETEVENTMSG, task->turn.tid, 0, &message);
        finish_interrupted(recorder, task);
        return begin_exit(recorder, task, (int)message);
    }
    case PTRACE_EVENT_STOP:
        if (group_stopped(status)) stop(recorder, task, WSTOPSIG(status));
        else if (task->stopped) continue_stopped(recorder, task);
        return REQUEST_NONE;
    default: return REQUEST_NONE;
    }
}

/* Scheduling. */

/* A thread that executes a program gets the id of its leader, which is gone (ptrace(2), "execve(2) under ptrace"). */
static void take_over_leader(struct recorder *recorder, pid_t tid)
{
    unsigned long former = 0;
    if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &former) == -1 || (pid_t)former == tid) return;
    struct task *leader = recorder_find(recorder, tid), *thread = recorder_find(recorder, (pid_t)former);
    if (!thread) return;
    if (leader) remove_task(recorder, leader);
    thread->turn.tid = tid;
    thread->in_call = true;
}

/* Notes a stop of a task that is not the one waited for. */
static void note_stop(struct recorder *recorder, pid_t tid, int status)
{
    if (!WIFSTOPPED(status)) note_end(recorder, tid, status);
    if (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXEC) take_over_leader(recorder, tid);
    struct task *task = recorder_find(recorder, tid);
    if (!task) {
        task = WIFSTOPPED(status) ? add_task(recorder, tid) : NULL;
        if (!task) return;
    }
    task->status = status;
    if (task->turn.state == TASK_UNKNOWN) return;
    if (WIFSTOPPED(status)) task->turn.state = TASK_PENDING;
    else vanish(recorder, task, status);
}

static bool collect(struct recorder *recorder, int flags)
{
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | flags);
    if (tid > 0) note_stop(recorder, tid, status);
    return tid > 0;
}

static void collect_all(struct recorder *recorder)
{
    while (collect(recorder, WNOHANG)) {}
}

static bool others_live(const struct recorder *recorder) { return recorder->scheduler.first && recorder->scheduler.first->next; }

/* A task may be freed by any wait, so that it is looked for before it is looked at. */
static bool is_running(const struct recorder *recorder, const struct task *task)
{
    for (const struct turn *turn = recorder->scheduler.first; turn; turn = turn->next)
        if (turn == &task->turn) return task->turn.state == TASK_RUNNING;
    return false;
}

/* Whether another could go on if `task` slept. */
static bool others_wait(const struct recorder *recorder, const struct task *task)
{
    for (const struct turn *turn = recorder->scheduler.first; turn; turn = turn->next)
        if (turn != &task->turn && turn_can_go_on(turn)) return true;
    return false;
}

/* A futex with priority inheritance is marked when a task begins to wait for it (futex_lock_pi_atomic,
   kernel/futex/pi.c); its owner acts on that before the wait is over. The next call in this memory carries it. */
static void note_mark(struct task *task)
{
    uint64_t operation = task->arguments[1] & FUTEX_CMD_MASK, address = task->arguments[0];
    bool marks = task->in_call && task->entry.orig_rax == SYS_futex && (operation == FUTEX_LOCK_PI || operation == FUTEX_LOCK_PI2_);
    if (marks && tracee_read(task->turn.tid, address, &task->mark, sizeof task->mark) == sizeof task->mark) task->marked = address;
}

static bool may_block(const struct task *task)
{
    return task->in_call && (!task->row || task->row->blocks || task->row->effect == EFFECT_SPAWN);
}

/* Lets the task that shares our processor run for a while. Yielding is cheap, but the kernel may hand the processor straight
   back, as it does where the task has a lower priority; then sleep, up to a millisecond. */
static bool pause_recorder(unsigned round)
{
    if (round < YIELDS) return sched_yield() == 0;
    unsigned doublings = round - YIELDS < DOUBLINGS ? round - YIELDS : DOUBLINGS;
    struct timespec time = {.tv_nsec = 1000L << doublings};
    return nanosleep(&time, NULL) == 0;
}

/* Waits for the next stop of the current task. It is left BLOCKED when it sleeps and others could go on: no stop need follow
   then that would wake us, however late it falls asleep. */
static enum request await(struct recorder *recorder, struct task *task)
{
    for (unsigned round = 0; is_running(recorder, task); round++) {
        if (!may_block(task) || !others_wait(recorder, task)) {
            if (!collect(recorder, 0)) return errno == EINTR ? REQUEST_INTERRUPTED : REQUEST_FAILED;
            continue;
        }
        if (!pause_recorder(round)) return REQUEST_INTERRUPTED;
        while (is_running(recorder, task) && collect(recorder, WNOHANG)) {}
        if (!is_running(recorder, task)) break;
        char state = tracee_state(task->turn.tid);
        if (state != 'S' && state != 'D') continue;
        task->turn.state = TASK_BLOCKED;
        note_mark(task);
    }
    return REQUEST_NONE;
}

static enum request advance(struct recorder *recorder, struct task *task)
{
    if (!task->started) start(recorder, task);
    int signal = task->resume_signal;
    task->resume_signal = 0;
    task->turn.state = TASK_RUNNING;
    task->cancels = !task->in_call && choose_held(task);
    if (ptrace(task->cancels ? PTRACE_SYSEMU : PTRACE_SYSCALL, task->turn.tid, 0, signal) == -1 && errno != ESRCH) return REQUEST_FAILED;
    return await(recorder, task);
}

static bool flush_due(struct recorder *recorder)
{
    if (recorder->events.size >= FLUSH_BYTES) return true;
    if (recorder->event_count % 64) return false;
    struct timespec now;
    read_clock(&now);
    return recorder->events.size && nanoseconds(&recorder->last_flush, &now) > FLUSH_NANOSECONDS;
}

/* A switch can be recorded at the entry of a call. Later stops within a call do not serve: a new task would run before the
   event of the clone that made it, with which the kernel's writes for it are recorded. */
static bool may_switch(const struct recorder *recorder)
{
    const struct task *task = (struct task *)recorder->scheduler.current;
    return task && task->turn.state == TASK_READY && task->in_call && WSTOPSIG(task->status) == (SIGTRAP | 0x80) && others_live(recorder);
}

/* The task that goes on; NULL: all are waiting. */
static struct task *choose(struct recorder *recorder)
{
    struct turn *current = recorder->scheduler.current;
    if (current && turn_can_go_on(current) && !may_switch(recorder)) return (struct task *)current;
    struct timespec time;
    read_clock(&time);
    uint64_t now = nanoseconds(&recorder->start, &time);
    /* waitpid prefers the youngest: the stops of others could wait behind those of a few for ever. */
    if (scheduler_is_over(&recorder->scheduler, now)) collect_all(recorder);
    return (struct task *)scheduler_choose(&recorder->scheduler, now, may_switch(recorder));
}

static bool is_stuck(const struct task *task)
{
    struct timespec now;
    read_clock(&now);
    return task->held_count && nanoseconds(&task->held_since, &now) > HELD_NANOSECONDS;
}

static enum request run_loop(struct recorder *recorder)
{
    if (recorder->deferred) {
        put_call(recorder, recorder->subject, recorder->result);
        recorder->deferred = false;
    }
    if (recorder->exiting) {
        recorder->exiting = false;
        finish_exit(recorder);
    }
    for (;;) {
        if (recorder->events.failed) {
            errno = ENOMEM;
            return REQUEST_FAILED;
        }
        if (!first_task(recorder)) {
            int status;
            if (waitpid(recorder->root, &status, __WALL) == recorder->root) recorder->root_status = status;
            return REQUEST_DONE;
        }
        if (recorder->root_ended && !recorder->wait) return REQUEST_DONE;
        if (flush_due(recorder)) return REQUEST_FLUSH;
        struct task *task = (struct task *)recorder->scheduler.current;
        if (task && task->turn.state == TASK_RUNNING) {
            /* Interrupted while waiting for it. */
            if (is_stuck(task)) {
                recorder->subject = task;
                return REQUEST_STUCK;
            }
            enum request request = await(recorder, task);
            if (request != REQUEST_NONE) return request;
            continue;
        }
        task = choose(recorder);
        if (!task) {
            if (!collect(recorder, 0)) return errno == EINTR ? REQUEST_INTERRUPTED : REQUEST_FAILED;
            continue;
        }
        enum request request;
        if (task->turn.state == TASK_PENDING) request = handle(recorder, task, task->status);
        else request = advance(recorder, task);
        if (request != REQUEST_NONE) return request;
    }
}

static void undo_patches(struct task *task)
{
    struct group *group = task->group;
    for (size_t i = 0; i < group->patch_count; i++)
        tracee_write(task->turn.tid, group->patches[i].address, group->patches[i].original, group->patches[i].size);
    group->patch_count = 0;
}

enum request recorder_run(struct recorder *recorder)
{
    trap_counter(true);
    enum request request = run_loop(recorder);
    int error = errno;
    trap_counter(false);
    errno = error;
    return request;
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
    return task->status >> 16 || signal == (SIGTRAP | 0x80) ? 0 : signal;
}

static void let_go(struct task *task)
{
    static const uint64_t enable[6] = {PR_SET_TSC, PR_TSC_ENABLE};
    int signal = stop_task(task);
    if (signal < 0) return;
    struct user_regs_struct registers;
    /* Behind this stop a task makes no more calls, and its end is for its parent to see. */
    bool dead = task->status >> 16 == PTRACE_EVENT_EXIT || tracee_get_registers(task->turn.tid, &registers) != 0;
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
    if (!dead) tracee_inject(task->turn.tid, SYS_prctl, enable, &dead);
    if (!dead && task->group) {
        undo_patches(task);
        for (unsigned i = 0; i < task->held_count; i++) syscall(SYS_tgkill, task->group->pid, task->turn.tid, task->held[i].si_signo);
    }
    sched_setaffinity(task->turn.tid, sizeof task->affinity, &task->affinity);
    /* Only from a signal's own stop does detaching deliver it as it was. */
    ptrace(PTRACE_DETACH, task->turn.tid, 0, signal);
}

static void leave(struct recorder *recorder, struct task *task, const char *reason)
{
    if (task->started) {
        recorder_begin_event(recorder, EVENT_LEAVE, task->turn.tid, 1);
        wire_text(&recorder->events, reason);
    }
    let_go(task);
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
