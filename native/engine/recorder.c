#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event.h"
#include "instruction.h"

enum {
    FLUSH_BYTES = 16 << 20,
    FIRST_FLUSH_BYTES = 512 << 10,
    FLUSH_SHARE = 8,
    FLUSH_NANOSECONDS = 250 * 1000 * 1000,
    SLICE_NANOSECONDS = 10 * 1000 * 1000,
    LEAST_NANOSECONDS = 300 * 1000, /* of a turn; who wakes in these is noticed at the next look */
    YIELDS = 4,
    DOUBLINGS = 10,
    RING_BYTES = 256 << 10,
    HELD_NANOSECONDS = 100 * 1000 * 1000,
    HELD_WITHOUT_TICKS = 10 * 1000 * 1000,
    WISH_NANOSECONDS = 100 * 1000,
    WAKE_NANOSECONDS = 20 * 1000,
    WAKE_ROUNDS = 500,
};

static void note_affinity(struct recorder *recorder)
{
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof recorder->affinity, &recorder->affinity);
    recorder->affinity_bytes = bytes > 0 ? (size_t)bytes : 0;
}

struct buffer recorder_room(void)
{
    struct buffer room = {.capacity = FLUSH_BYTES + AGENT_RING_LIMIT};
    room.data = malloc(room.capacity);
    return room.data ? room : (struct buffer){0};
}

void recorder_initialise(struct recorder *recorder)
{
    memset(recorder, 0, sizeof *recorder);
    read_clock(&recorder->start);
    recorder->last_flush = recorder->start;
    recorder->scheduler.slice = SLICE_NANOSECONDS;
    recorder->scheduler.until = UINT64_MAX;
    recorder->wait = recorder->follow_forks = true;
    recorder->ring_bytes = RING_BYTES;
    recorder->events = recorder_room();
    note_affinity(recorder);
    for (int i = 1; i < 3; i++) {
        struct stat status;
        bool terminal = isatty(i) == 1;
        /* A null device is everybody's; writing to it is not our output. */
        if (fstat(i, &status) == 0 && (terminal || !S_ISCHR(status.st_mode)))
            recorder->own_stream[i] = (struct file_identity){status.st_dev, status.st_ino};
    }
}

struct task *recorder_find(const struct recorder *recorder, pid_t tid) { return (struct task *)scheduler_find(&recorder->scheduler, tid); }

void recorder_free(struct recorder *recorder)
{
    tick_slices(recorder, false);
    while (first_task(recorder)) remove_task(recorder, first_task(recorder));
    buffer_free(&recorder->events);
    buffer_free(&recorder->extra);
    buffer_free(&recorder->loop);
    for (size_t i = 0; i < recorder->sites_count; i++) free(recorder->sites[i]);
    free(recorder->sites);
    buffer_free(&recorder->sent);
    scheduler_free(&recorder->scheduler);
    free(recorder->watched);
}

void recorder_begin_event(struct recorder *recorder, unsigned kind, pid_t task, size_t items)
{
    struct timespec now;
    read_clock(&now);
    uint64_t time = nanoseconds(&recorder->start, &now) / 1000;
    wire_head(&recorder->events, kind, task, time - recorder->last_time, items);
    recorder->last_time = time;
    recorder->event_count++;
    struct task *subject = recorder_find(recorder, task);
    if (subject) subject->fresh = true;
}

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
    if (group) {
        task->descriptors = new_descriptors(NULL);
        group->space = new_space(NULL);
    }
    if (!error && (!group || !task->descriptors || !group->space)) error = ENOMEM;
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
    if (!task->redirected && is_compatibility_call(task)) {
        recorder->subject = task;
        task->in_call = true;
        return REQUEST_COMPATIBILITY;
    }
    if (!settle_entry(task) || !enter_call(recorder, task)) return REQUEST_FAILED;
    if (task->meets && !task->cancels) interrupt_call(task);
    task->meets = false;
    task->turn.behind = is_own_call(task->entry.orig_rax) ? AT_CALL : task->turn.ticks;
    task->turn.dull = is_private_call(task->entry.orig_rax);
    if (task->entry.orig_rax == SYS_sched_yield) scheduler_yield(&recorder->scheduler);
    return checksum_due(recorder, task);
}

/* Takes in a stop of `task`; afterwards it is READY, unless it says otherwise. */
static enum request handle(struct recorder *recorder, struct task *task, int status)
{
    task->turn.state = TASK_READY;
    if (!WIFSTOPPED(status)) {
        vanish_task(recorder, task, status);
        return REQUEST_NONE;
    }
    int event = status >> 16;
    task->in_agent = false;
    if (task->group && runs_free(task)) drain(recorder, task);
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
        task->died_computing = is_clocked(task) && runs_free(task) && !task->fatal_behind && !task->fatal_fault;
        finish_interrupted(recorder, task);
        put_arguments_back(task);
        return begin_exit(recorder, task, (int)message);
    }
    case PTRACE_EVENT_STOP: {
        enum request request = adopt_interrupted(recorder, task);
        if (request != REQUEST_NONE) return request;
        if (group_stopped(status)) put_stopped(recorder, task, WSTOPSIG(status));
        else if (task->stopped) put_continued(recorder, task);
        else if (task->looked) request = look_amid(recorder, task);
        task->looked = false;
        return request;
    }
    default: return REQUEST_NONE;
    }
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
    /* Killed there, it has come to the next of its stops: that at the instruction. */
    task->fatal_fault |= task->stood_back && WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT;
    task->stood_back = false;
    if (task->turn.state == TASK_UNKNOWN) return;
    if (WIFSTOPPED(status)) task->turn.state = TASK_PENDING;
    else vanish_task(recorder, task, status);
}

bool collect(struct recorder *recorder, int flags)
{
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | flags);
    if (tid > 0) note_stop(recorder, tid, status);
    return tid > 0;
}

void collect_all(struct recorder *recorder)
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

/* Whether a task that runs, and has for `least` nanoseconds, is to make room: at the end of its slice for those that can go on, and
   before that for those that have been woken. Under chaos turns end as it is drawn. */
static bool is_due(struct recorder *recorder, const struct task *task, uint64_t least)
{
    struct scheduler *scheduler = &recorder->scheduler;
    struct timespec now;
    read_clock(&now);
    uint64_t run = nanoseconds(&recorder->start, &now) - scheduler->slice_start;
    if (run < least) return false;
    if (run >= scheduler->slice) return others_wait(recorder, task);
    if (scheduler->policy != POLICY_TURNS || task->hurried) return false;
    for (const struct turn *turn = scheduler->first; turn; turn = turn->next)
        if (turn->state == TASK_PENDING && !((struct task *)turn)->stood_back) scheduler_yield(scheduler);
    return scheduler->yielded;
}

/* A fork may sleep, too, for the kernel's own reasons, but before or amid its copy of memory, which nobody must change then. */
static bool waits_for_child(const struct task *task)
{
    if (task->entry.orig_rax == SYS_clone) return task->arguments[0] & CLONE_VFORK;
    return task->entry.orig_rax == SYS_clone3 && read_clone_request(task).flags & CLONE_VFORK;
}

static bool may_block(const struct task *task)
{
    return task->in_call && (!task->row || task->row->blocks || waits_for_child(task));
}

/* Whether the call that a task sleeps in returns by itself, after a time. */
static bool sleeps_for_a_time(const struct task *task)
{
    const uint64_t *arguments = task->arguments;
    switch (task->entry.orig_rax) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep: return true;
    case SYS_futex: return arguments[3] != 0;
    case SYS_poll: return (int)arguments[2] >= 0;
    case SYS_epoll_wait:
    case SYS_epoll_pwait: return (int)arguments[3] >= 0;
    case SYS_select:
    case SYS_pselect6: return arguments[4] != 0;
    case SYS_ppoll: return arguments[2] != 0;
    default: return false;
    }
}

static bool sleeps_for_another(const struct task *task)
{
    const uint64_t *arguments = task->arguments;
    if (!task->group || !task->in_call || tracee_state(task->turn.tid) != 'S') return false;
    switch (task->entry.orig_rax) {
    case SYS_futex: return (arguments[1] & FUTEX_CMD_MASK) != FUTEX_LOCK_PI && !arguments[3];
    case SYS_wait4: return !(arguments[2] & WNOHANG);
    case SYS_waitid: return !(arguments[3] & WNOHANG);
    default: return false;
    }
}

bool recorder_is_deadlocked(const struct recorder *recorder)
{
    for (const struct task *task = first_task(recorder); task; task = next_task(task))
        if (!sleeps_for_another(task)) return false;
    return first_task(recorder) != NULL;
}

void recorder_kill(const struct recorder *recorder)
{
    for (const struct task *task = first_task(recorder); task; task = next_task(task))
        if (task->group) kill(task->group->pid, SIGKILL);
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

/* A signal waits for a tick or a call that does not come: it is delivered amid native code. */
static bool is_stuck(const struct task *task)
{
    struct timespec now;
    uint64_t patience = task->group->space->has_ticked ? HELD_NANOSECONDS : HELD_WITHOUT_TICKS;
    if (!task->held_count) return false;
    read_clock(&now);
    return nanoseconds(&task->held_since, &now) > patience;
}

/* Waits for the next stop of the current task. It is left BLOCKED when it sleeps and others could go on: no stop need follow
   then that would wake us, however late it falls asleep. */
static enum request await(struct recorder *recorder, struct task *task)
{
    for (unsigned round = 0; is_running(recorder, task); round++) {
        if (!may_block(task) || !others_wait(recorder, task)) {
            if (runs_own_code(task)) tick_slices(recorder, others_live(recorder) || task->held_count);
            if (collect(recorder, 0)) {
                if (runs_free(task) && is_running(recorder, task) && is_due(recorder, task, LEAST_NANOSECONDS)) end_slice(task);
                continue;
            }
            if (errno != EINTR) return REQUEST_FAILED;
            if (!runs_own_code(task)) return REQUEST_INTERRUPTED;
            if (runs_free(task)) drain(recorder, task);
            if (!recorder->ticked) return REQUEST_INTERRUPTED;
            recorder->ticked = 0;
            if (is_due(recorder, task, 0)) end_slice(task);
            if (is_stuck(task)) look_at(task);
            continue;
        }
        if (!pause_recorder(round)) return REQUEST_INTERRUPTED;
        while (is_running(recorder, task) && collect(recorder, WNOHANG)) {}
        if (!is_running(recorder, task)) break;
        char state = tracee_state(task->turn.tid);
        if (state != 'S' && state != 'D') continue;
        task->turn.state = TASK_BLOCKED;
        task->turn.wakes = sleeps_for_a_time(task);
        recorder->sleeping_writer[stream_of(task, 1)] = true;
        note_mark(task);
    }
    return REQUEST_NONE;
}

/* Whether a task that stands at a tick is to wait for the others. */
bool is_preempted(const struct recorder *recorder, const struct task *task)
{
    struct timespec time;
    if (recorder->scheduler.policy == POLICY_TURNS) return task->hurried && others_wait(recorder, task);
    read_clock(&time);
    return others_live(recorder) && scheduler_is_over(&recorder->scheduler, nanoseconds(&recorder->start, &time));
}

static enum request advance(struct recorder *recorder, struct task *task)
{
    if (!task->started) start_task(recorder, task);
    task->turn.ticking = is_clocked(task);
    task->turn.dull = false;
    if (task->preempted) put_continued(recorder, task);
    end_stand(recorder, task);
    task->stops &= task->preempted;
    task->preempted = false;
    int signal = task->resume_signal;
    task->resume_signal = 0;
    task->turn.state = TASK_RUNNING;
    bool free = runs_free(task);
    task->cancels = !free && !task->in_call && !task->meets && choose_held(task);
    if (task->group->space->agent && !task->in_call && !task->redirected) tell(recorder, task);
    int request = free ? PTRACE_CONT : task->cancels ? PTRACE_SYSEMU : PTRACE_SYSCALL;
    if (ptrace(request, task->turn.tid, 0, signal) == -1 && errno != ESRCH) return REQUEST_FAILED;
    return await(recorder, task);
}

/* What is left at the end is compressed while nobody does anything else: a chunk is a share of all that came before. */
static size_t flush_size(const struct recorder *recorder)
{
    uint64_t share = recorder->flushed_bytes / FLUSH_SHARE;
    return share < FIRST_FLUSH_BYTES ? FIRST_FLUSH_BYTES : share < FLUSH_BYTES ? share : FLUSH_BYTES;
}

static bool flush_due(struct recorder *recorder)
{
    if (recorder->events.size >= flush_size(recorder)) return true;
    if (recorder->event_count % 64) return false;
    struct timespec now;
    read_clock(&now);
    return recorder->events.size && nanoseconds(&recorder->last_flush, &now) > FLUSH_NANOSECONDS;
}

/* A switch can be recorded at the entry of a call, and where a task has stood back. Later stops within a call do not serve: a new
   task would run before the event of the clone that made it, with which the kernel's writes for it are recorded. */
static bool may_switch(const struct recorder *recorder)
{
    const struct task *task = (struct task *)recorder->scheduler.current;
    if (!task || !others_live(recorder)) return false;
    if (task->turn.state != TASK_READY) return task->turn.state == TASK_PENDING && task->stood_back;
    return task->preempted || (task->in_call && WSTOPSIG(task->status) == (SIGTRAP | 0x80));
}

/* Who has been woken comes to its stop before anything is decided: else it were chance who can go on. */
static void let_wake(struct recorder *recorder)
{
    const struct timespec pause = {.tv_nsec = WAKE_NANOSECONDS};
    for (unsigned round = 0; round < WAKE_ROUNDS; round++) {
        bool waking = false;
        for (const struct task *task = first_task(recorder); task && !waking; task = next_task(task))
            waking = task->turn.state == TASK_BLOCKED && tracee_state(task->turn.tid) == 'R';
        if (!waking) return;
        nanosleep(&pause, NULL);
        collect_all(recorder);
    }
}

/* Nobody runs while the one that the scheduler wants to go on sleeps: as if the processor had other things to do. */
static void wait_for_wish(struct recorder *recorder, uint64_t start)
{
    const struct scheduler *scheduler = &recorder->scheduler;
    const struct timespec pause = {.tv_nsec = WISH_NANOSECONDS};
    for (uint64_t now = start; scheduler->wish && !turn_can_go_on(scheduler->wish) && now - start < scheduler->patience;) {
        struct timespec time;
        nanosleep(&pause, NULL);
        collect_all(recorder);
        read_clock(&time);
        now = nanoseconds(&recorder->start, &time);
    }
}

/* Which of two that write to a full pipe, and sleep, is served first is in no result, but whoever reads it sees it. So one
   sleeps, and the others have not begun. */
static void hold_writers(struct recorder *recorder)
{
    bool *sleeping = recorder->sleeping_writer;
    const struct file_identity *streams = recorder->own_stream;
    if (!sleeping[1] && !sleeping[2]) return;
    sleeping[1] = sleeping[2] = false;
    for (struct task *task = first_task(recorder); task; task = next_task(task))
        if (task->in_call && task->turn.state != TASK_READY) sleeping[stream_of(task, 1)] = true;
    if (streams[1].inode == streams[2].inode && streams[1].device == streams[2].device) sleeping[1] = sleeping[2] = sleeping[1] || sleeping[2];
    sleeping[0] = false;
    for (struct task *task = first_task(recorder); task; task = next_task(task)) task->turn.held = task->in_call && sleeping[stream_of(task, 1)];
}

/* Whether a task is about to sleep: it does so at once, and its turn is over anyway. Left at the entry of its call, it would only
   begin to wait in its next turn, and who waits for a time would wait for longer. Once in a turn, since it may not sleep. */
static bool may_fall_asleep(const struct recorder *recorder, struct task *task)
{
    if (recorder->scheduler.policy != POLICY_TURNS || task->preempted || task->drowsy || !may_block(task)) return false;
    if (task->entry.orig_rax == SYS_sched_yield) return false; /* it has others go on */
    return task->drowsy = true;
}

/* The task that goes on; NULL: all are waiting. */
static struct task *choose(struct recorder *recorder)
{
    struct turn *current = recorder->scheduler.current;
    hold_writers(recorder);
    bool able = current && turn_can_go_on(current);
    if (able && (!may_switch(recorder) || may_fall_asleep(recorder, (struct task *)current))) return (struct task *)current;
    struct timespec time;
    read_clock(&time);
    uint64_t now = nanoseconds(&recorder->start, &time);
    /* waitpid prefers the youngest: the stops of others could wait behind those of a few for ever. */
    if (scheduler_is_over(&recorder->scheduler, now)) collect_all(recorder);
    if (recorder->scheduler.policy != POLICY_TURNS && scheduler_is_over(&recorder->scheduler, now)) let_wake(recorder);
    if (current && may_switch(recorder)) ((struct task *)current)->hurried = false;
    recorder->scheduler.event = recorder->event_count;
    if (scheduler_wish(&recorder->scheduler, now, may_switch(recorder))) wait_for_wish(recorder, now);
    struct task *next = (struct task *)scheduler_choose(&recorder->scheduler, now, may_switch(recorder));
    if (next && &next->turn != current) next->drowsy = false;
    return next;
}

static enum request run_loop(struct recorder *recorder)
{
    if (recorder->deferred) {
        complete_call(recorder, recorder->subject, recorder->result);
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

void recorder_begin_chunk(struct recorder *recorder)
{
    struct task *task = (struct task *)recorder->scheduler.current;
    /* What the ring of a task that runs refers to is in the chunk before: it is to begin anew soon (take_ring). */
    if (recorder->flushed_count < recorder->event_count && task && task->turn.state == TASK_RUNNING && runs_free(task)) silence(task);
    recorder->flushed_count = recorder->event_count;
    clock_gettime(CLOCK_MONOTONIC, &recorder->last_flush);
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
