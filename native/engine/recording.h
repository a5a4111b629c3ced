/* What the parts of the recorder know of each other. */
#ifndef PYRR_RECORDING_H
#define PYRR_RECORDING_H

#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "recorder.h"

#define PTRACE_OPTIONS                                                                                              \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
     PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)

/* recorder.c */
bool collect(struct recorder *recorder, int flags);
void collect_all(struct recorder *recorder);
bool is_preempted(const struct recorder *recorder, const struct task *task);

/* descriptors.c: descriptors that are the recorder's own stdout and stderr, and files that policy watches */
void check_streams(struct task *task);
/* Those of a task that has not been followed from its beginning. */
void find_streams(const struct recorder *recorder, struct task *task);
void follow_streams(const struct recorder *recorder, struct task *task, int64_t result);
bool is_watched(const struct recorder *recorder, const struct task *task);
struct descriptors *new_descriptors(const struct descriptors *like);
void release_descriptors(struct descriptors *descriptors);
unsigned stream_of(const struct task *task, int64_t result);
void watch_memory_file(struct recorder *recorder, const struct task *task, int64_t result);

/* call.c: the entry and the exit of a system call, and its event */
void begin_call(struct task *task);
bool enter_call(struct recorder *recorder, struct task *task);
void end_quiet(struct task *task);
bool is_compatibility_call(const struct task *task);
enum request leave_call(struct recorder *recorder, struct task *task);
void note_action(struct group *group, int signal, const struct kernel_sigaction *action);
void note_mark(struct task *task);
void put_call(struct recorder *recorder, struct task *task, int64_t result);
struct clone_args read_clone_request(const struct task *task);
/* The same, with what is patched behind a call. */
void complete_call(struct recorder *recorder, struct task *task, int64_t result);

/* buffered.c: the agent */
bool call_off(struct task *task);
void deliver_held(struct recorder *recorder, struct task *task);
bool note_place(struct task *task);
enum request leave_agent(struct recorder *recorder, struct task *task);
enum request adopt_interrupted(struct recorder *recorder, struct task *task);
void call_attention(const struct recorder *recorder, struct task *task, struct user_regs_struct *registers);
void drain(struct recorder *recorder, struct task *task);
void end_slice(struct task *task);
/* Stops a task amid its code, if it is in its own, to see what it does there. */
void look_at(struct task *task);
void patch_clock(struct recorder *recorder, struct task *task);
/* Behind a call, patches the site that it came from, so that the next one is the agent's; and, in code that has been mapped
   since, all sites that have been used before. */
void patch_sites(struct recorder *recorder, struct task *task);
bool recover_copy(const struct recorder *recorder, struct task *task, int signal);
/* Whether a task is amid its own code or the agent's; and its calls are the agent's. */
bool runs_own_code(const struct task *task);
bool runs_free(const struct task *task);
bool settle_entry(struct task *task);
void silence(struct task *task);
enum request stop_by_dispatch(struct recorder *recorder, struct task *task);
bool tell(struct recorder *recorder, struct task *task);
void tick_slices(struct recorder *recorder, bool tick);
void turn_off(struct recorder *recorder, struct task *task);

/* clock.c: ticks */
/* Has a stopped task stop at the `ticks`-th tick from now (1: the next one), unless it is asked to stop before that. */
void ask_for_tick(struct task *task, uint64_t ticks);
/* What the clock shows at a stop. */
void note_clock(struct task *task, const struct agent_clock *clock);
uint64_t passed_ticks(const struct task *task);
bool is_clocked(const struct task *task);
void read_ticks(struct task *task);
/* Nothing counts that could stop the task. */
void stop_clock(struct task *task);
bool stop_at_tick(struct recorder *recorder, struct task *task);
/* Before a task runs its own code. */
void wind_clock(struct task *task);

/* spin.c: at a stop amid the program's own code */
enum request look_amid(struct recorder *recorder, struct task *task);
/* A task that was left there goes on. */
void end_stand(const struct recorder *recorder, struct task *task);

/* signals.c: signals: those that instructions stand for, those that are delivered or held, those that stop */
void deliver_at_tick(struct recorder *recorder, struct task *task);
/* Those that do nothing, as a set. */
uint64_t ignored_signals(const struct group *group);
void put_continued(struct recorder *recorder, struct task *task);
bool group_stopped(int status);
/* A signal that comes while a task is led by steps waits, as any amid computation. False: the stop is another. */
bool hold_on_way(const struct recorder *recorder, struct task *task, int status);
/* Sends a task at the entry of its call the signals that are held for it. */
void interrupt_call(struct task *task);
/* Whether a signal that is held for a task comes in the call that it is about to make, since it may wait there: of a handler that has
   run before, a program that had looked just before whether it has run would not know, and sleep. */
bool interrupts(const struct task *task, int signal, uint64_t number, const struct user_regs_struct *registers);
/* Brings the first held signal that is not blocked to the front; or the first that comes before that call. False: none is there, and those
   that come in the call `meet` it. */
bool choose_held(struct task *task);
bool choose_before_call(struct task *task, uint64_t number, const struct user_regs_struct *registers);
/* A signal that we have sent becomes again what it was. False: it is another's. */
bool take_forwarded(struct task *task, siginfo_t *info);
void note_mask(struct task *task);
void put_stopped(struct recorder *recorder, struct task *task, int signal);
enum request stop_by_signal(struct recorder *recorder, struct task *task, int signal);
/* A fault that is ours and not the program's is forced on it all the same: a task that blocks or ignores the signal loses that,
   and its handler with it (force_sig_info_to_task, kernel/signal.c). Puts both back. */
void undo_force(const struct recorder *recorder, struct task *task, int signal);

/* task.c: the beginning and the end of a task, and what the kernel writes for the dead */
struct task *add_task(struct recorder *recorder, pid_t tid);
enum request begin_exit(struct recorder *recorder, struct task *task, int status);
void finish_exit(struct recorder *recorder);
void finish_interrupted(struct recorder *recorder, struct task *task);
void put_arguments_back(const struct task *task);
bool is_namespace_init(pid_t pid);
void join_group(struct task *task, struct group *group);
struct group *new_group(pid_t pid, const struct group *like);
void note_end(struct recorder *recorder, pid_t tid, int status);
void remove_task(struct recorder *recorder, struct task *task);
enum request spawned(struct recorder *recorder, struct task *parent, int event);
void start_task(struct recorder *recorder, struct task *task);
/* Of a call that has begun: its row, or that of the one which it goes on with. */
const struct syscall_row *unfinished_row(const struct task *task, const uint64_t **arguments);
void take_over_leader(struct recorder *recorder, pid_t tid);
void vanish_task(struct recorder *recorder, struct task *task, int status);

/* detach.c: letting tasks go on unrecorded */
void let_go(struct recorder *recorder, struct task *task);

static inline uint64_t nanoseconds(const struct timespec *from, const struct timespec *to)
{
    return (uint64_t)(to->tv_sec - from->tv_sec) * 1000000000u + (uint64_t)to->tv_nsec - (uint64_t)from->tv_nsec;
}

/* A real system call: the vDSO reads the time stamp counter, which faults while the loop runs. */
static inline void read_clock(struct timespec *now) { syscall(SYS_clock_gettime, CLOCK_MONOTONIC, now); }

static inline struct task *first_task(const struct recorder *recorder) { return (struct task *)recorder->scheduler.first; }

static inline struct task *next_task(const struct task *task) { return (struct task *)task->turn.next; }

#endif
