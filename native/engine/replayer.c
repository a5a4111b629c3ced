#define _GNU_SOURCE
#include "replayer.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../stub/gate.h"
#include "event.h"
#include "instruction.h"
#include "offer.h"
#include "repeat.h"
#include "step.h"
#include "transfer.h"

#define PTRACE_OPTIONS \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL)

enum { BYTES_OF_REGISTERS = sizeof(struct user_regs_struct) };

static void reap(pid_t tid)
{
    int status;
    while (tracee_wait(tid, &status) && WIFSTOPPED(status)) {}
}

/* A process is reaped last of all its traced threads, each of which is waited for by itself. */
void replayer_kill(pid_t real)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/task", real);
    DIR *folder = opendir(path);
    kill(real, SIGKILL);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid > 0 && tid != real) reap(tid);
    }
    if (folder) closedir(folder);
    reap(real);
}

static void remove_actor(struct replayer *replayer, struct actor *actor)
{
    bool shared = false;
    for (struct actor **link = &replayer->actors; *link;) {
        struct actor *other = *link;
        if (other == actor) {
            *link = actor->next;
            continue;
        }
        shared |= other->brk == actor->brk;
        link = &other->next;
    }
    if (replayer->due == actor) replayer->due = NULL;
    if (replayer->noted == actor) replayer->noted = NULL;
    if (!shared) free(actor->brk);
    free(actor);
}

void replayer_forget(struct replayer *replayer, pid_t task)
{
    struct actor *actor = replayer_find(replayer, task);
    if (!actor) return;
    /* A thread that has ended stays where it is until its process goes: it never runs again. */
    bool last = true;
    for (struct actor *other = replayer->actors; other; other = other->next)
        if (other != actor && other->real_group == actor->real_group) last = false;
    if (last) replayer_kill(actor->real_group);
    remove_actor(replayer, actor);
}

void replayer_end(struct replayer *replayer)
{
    while (replayer->actors) replayer_forget(replayer, replayer->actors->task);
    if (replayer->template.real) replayer_kill(replayer->template.real);
    replayer->template.real = 0;
}

void replayer_free(struct replayer *replayer)
{
    replayer_end(replayer);
    free(replayer->files);
    trap_set_free(&replayer->traps);
}

struct actor *replayer_find(struct replayer *replayer, pid_t task)
{
    for (struct actor *actor = replayer->actors; actor; actor = actor->next)
        if (actor->task == task) return actor;
    return NULL;
}

static struct actor *add_actor(struct replayer *replayer, pid_t task, pid_t real, pid_t real_group, uint64_t *brk)
{
    struct actor *actor = calloc(1, sizeof *actor);
    if (!actor) return NULL;
    *actor = (struct actor){.task = task, .real = real, .real_group = real_group, .brk = brk, .next = replayer->actors};
    replayer->actors = actor;
    return actor;
}

static void stub_main(const char *stub, int gate, int shared)
{
    char go;
    if (read(gate, &go, 1) != 1 || dup2(shared, SHARED_DESCRIPTOR) != SHARED_DESCRIPTOR) _exit(127);
    fcntl(SHARED_DESCRIPTOR, F_SETFD, 0);
    signal(SIGCHLD, SIG_IGN); /* the kernel itself reaps its clones, which send nothing (do_notify_parent) */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* for clones of clones that have ended: it ignores them as well */
    setsid(); /* out of reach of the terminal's signals */
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
    char *const empty[] = {NULL};
    char *const arguments[] = {(char *)"pyrr-stub", NULL};
    execve(stub, arguments, empty);
    _exit(127);
}

int64_t replayer_inject(struct actor *actor, uint64_t number, const uint64_t arguments[6])
{
    struct user_regs_struct saved, registers;
    if (tracee_get_registers(actor->real, &saved)) return -errno;
    registers = saved;
    registers.rip = GATE_PAGE;
    tracee_prepare_call(&registers, number, arguments);
    int status = 0;
    if (tracee_set_registers(actor->real, &registers)) return -errno;
    /* A clone stops once more, for its event. */
    do {
        if (ptrace(PTRACE_CONT, actor->real, 0, 0) == -1 || !tracee_wait(actor->real, &status)) return -ESRCH;
    } while (WIFSTOPPED(status) && (status >> 16 == PTRACE_EVENT_CLONE || status >> 16 == PTRACE_EVENT_FORK));
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP || tracee_get_registers(actor->real, &registers)) {
        actor->stop = STOP_DEAD;
        return -ESRCH;
    }
    saved.orig_rax = (uint64_t)-1;
    if (tracee_set_registers(actor->real, &saved)) return -errno;
    return (int64_t)registers.rax;
}

/* Starts the stub that never becomes a program: its clones do, for a tenth of the time of an exec. */
static int start_template(struct replayer *replayer, const char *stub)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC)) return errno;
    pid_t pid = fork();
    if (pid == 0) stub_main(stub, gate[0], replayer->shared);
    int error = pid < 0 ? errno : 0, status = 0;
    close(gate[0]);
    if (!error && ptrace(PTRACE_SEIZE, pid, 0, PTRACE_OPTIONS) == -1) error = errno;
    if (!error && write(gate[1], "", 1) != 1) error = errno;
    close(gate[1]);
    /* Two stops: the new image, and the trap behind its seccomp filter. */
    if (!error && (!tracee_wait(pid, &status) || status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))) error = ENOEXEC;
    if (!error && ptrace(PTRACE_CONT, pid, 0, 0) == -1) error = errno;
    if (!error && (!tracee_wait(pid, &status) || status >> 8 != SIGTRAP)) error = ENOEXEC;
    struct user_regs_struct registers = {0};
    if (!error && (tracee_get_registers(pid, &registers) || registers.rax != 0)) error = EPERM;
    if (!error) replayer->template.real = pid;
    else if (pid > 0) replayer_kill(pid);
    return error;
}

pid_t replayer_clone(struct actor *actor, uint64_t flags)
{
    const uint64_t arguments[6] = {flags & CLONE_THREAD ? flags : flags | SIGCHLD};
    int64_t real = replayer_inject(actor, SYS_clone, arguments);
    int status;
    if (real > 0 && (!tracee_wait((pid_t)real, &status) || !WIFSTOPPED(status))) return -ESRCH;
    return (pid_t)real;
}

int replayer_start(struct replayer *replayer, pid_t task, const char *stub)
{
    replayer_forget(replayer, task);
    int error = replayer->template.real ? 0 : start_template(replayer, stub);
    if (error) return -error;
    pid_t real = replayer_clone(&replayer->template, 0);
    if (real < 0) return real;
    uint64_t *brk = calloc(1, sizeof *brk);
    if (brk && add_actor(replayer, task, real, real, brk)) return real;
    free(brk);
    replayer_kill(real);
    return -ENOMEM;
}

int replayer_spawn(struct replayer *replayer, pid_t parent, pid_t task, uint64_t flags)
{
    struct actor *actor = replayer_find(replayer, parent);
    if (!actor) return -ESRCH;
    /* The kernel demands CLONE_VM with CLONE_SIGHAND and CLONE_THREAD; nothing else of the flags matters to a task
       that never makes a call. */
    uint64_t kept = flags & (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM);
    if (!(kept & CLONE_VM)) kept &= ~(uint64_t)(CLONE_SIGHAND | CLONE_THREAD);
    pid_t real = replayer_clone(actor, kept);
    if (real < 0) return real;
    uint64_t *brk = kept & CLONE_VM ? actor->brk : malloc(sizeof *brk);
    if (!brk) return -ENOMEM;
    *brk = *actor->brk;
    pid_t group = kept & CLONE_THREAD ? actor->real_group : real;
    struct actor *child = add_actor(replayer, task, real, group, brk);
    if (child) child->agent = actor->agent;
    return child ? real : -ENOMEM;
}

__attribute__((format(printf, 2, 3))) static enum outcome diverge(struct replayer *replayer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(replayer->reason, sizeof replayer->reason, format, arguments);
    va_end(arguments);
    return OUTCOME_DIVERGENCE;
}

/* A task that is to stop at tick `ticks` behind its last event, or at none (0). */
void replayer_wind(const struct replayer *replayer, const struct actor *actor, uint64_t ticks)
{
    int64_t left = ticks ? (int64_t)(ticks - replayer->due_ticks) - 1 : CLOCK_AT_REST;
    const struct agent_clock clock = {left, left + (int64_t)replayer->due_ticks};
    if (actor->agent) tracee_write(actor->real, AGENT_STATE + offsetof(struct agent_state, clock), &clock, sizeof clock);
}

uint64_t ticks_behind(const struct actor *actor)
{
    struct agent_clock clock;
    if (!actor->agent || tracee_read(actor->real, AGENT_STATE + offsetof(struct agent_state, clock), &clock, sizeof clock) != sizeof clock) return 0;
    return (uint64_t)(clock.base - clock.counter);
}

/* What is copied of a task that has stopped amid its way is not to stop by itself. */
void note_ticks(struct replayer *replayer, const struct actor *actor)
{
    if (!actor->agent) return;
    replayer->due_ticks = ticks_behind(actor);
    replayer_wind(replayer, actor, 0);
}

enum stop replayer_stop_of(const struct actor *actor, int status)
{
    siginfo_t info;
    if (!WIFSTOPPED(status)) return STOP_DEAD;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return STOP_CALL;
    if (status >> 16 == PTRACE_EVENT_STOP) return STOP_NONE;
    if (status >> 16 || ptrace(PTRACE_GETSIGINFO, actor->real, 0, &info)) return STOP_FAULT;
    if (WSTOPSIG(status) == SIGTRAP && info.si_code == SI_KERNEL && actor->agent && is_at_tick(actor->real)) return STOP_TICK;
    if (WSTOPSIG(status) == SIGSYS && info.si_code == SYS_USER_DISPATCH_) return STOP_CALL;
    return info.si_code <= 0 ? STOP_NONE : STOP_FAULT;
}

/* Whether a task has met an int3 of ours, onto which it is put back. */
static bool meets_int3(struct replayer *replayer, struct actor *actor, uint64_t *hit)
{
    *hit = trap_at(&replayer->traps, actor->task, actor->real, actor->registers.rip - 1);
    if (!*hit) return false;
    actor->registers.rip--;
    return tracee_set_registers(actor->real, &actor->registers) == 0;
}

/* The last event that has taken effect, those included that the agent has taken from the ring. */
static uint64_t event_behind(const struct replayer *replayer, const struct actor *actor)
{
    struct agent_account account = {0};
    if (replayer->offered) tracee_read(actor->real, AGENT_STATE + offsetof(struct agent_state, account), &account, sizeof account);
    return replayer->position + account.consumed_count - 1;
}

enum meeting {
    NOT_MET, /* another stop */
    PASSED,  /* a trap at which nothing stops */
    STOPPED, /* the replay is to stop there */
    FAILED,  /* `stop` says where the task is instead */
};

/* What a stop has to do with traps. What the agent writes for a call is written when it returns; what it reads is nobody's. */
static enum meeting meet(struct replayer *replayer, struct actor *actor, int status)
{
    uint64_t hit = 0;
    bool lost = false;
    if (!actor->armed || status >> 8 != SIGTRAP) return NOT_MET;
    if (!trap_is_hit(&replayer->traps, actor->task, actor->real, status, &actor->registers, &hit, &lost) && !meets_int3(replayer, actor, &hit)) return NOT_MET;
    if (lost) {
        actor->stop = STOP_LOST;
        return FAILED;
    }
    if (in_agent(actor->registers.rip)) {
        hit &= trap_bits(&replayer->traps, TRAP_WRITE);
        if (!hit) return PASSED;
        if (!step_out_of_agent(replayer, actor)) return actor->stop == STOP_TRAP ? PASSED : FAILED;
    }
    actor->met = hit & trap_bits(&replayer->traps, TRAP_EXECUTE);
    return trap_count(&replayer->traps, actor->task, actor->real, hit, event_behind(replayer, actor), ticks_behind(actor)) ? STOPPED : PASSED;
}

uint64_t replayer_written(struct replayer *replayer, const struct actor *actor)
{
    uint64_t hit = replayer->noted == actor ? trap_written(&replayer->traps, actor->real) : 0;
    replayer->noted = NULL;
    return hit;
}

void replayer_prepare(struct replayer *replayer, struct actor *actor)
{
    if (actor->agent && !actor->dispatched) actor->dispatched = dispatch_actor(actor);
    if (actor->armed != replayer->traps.generation && trap_arm(&replayer->traps, actor->task, actor->real) == 0) actor->armed = replayer->traps.generation;
}

/* The processor says in the flags that a task stands at an execute trap that it has met; nobody else is to see it. */
static bool set_resume_flag(struct actor *actor, bool on)
{
    if (on) actor->registers.eflags |= RESUME_FLAG;
    else actor->registers.eflags &= ~(uint64_t)RESUME_FLAG;
    return tracee_set_registers(actor->real, &actor->registers) == 0;
}

static bool run_once(struct replayer *replayer, struct actor *actor, bool int3, int *status)
{
    /* An int3 of a trap serves as well. */
    bool detoured = replayer->detour.address && (replayer->detour.page || !int3 || !trap_at(&replayer->traps, actor->task, actor->real, replayer->detour.address));
    if (detoured && !detour_put(&replayer->detour, actor, &replayer->traps)) {
        actor->stop = STOP_LOST;
        return false;
    }
    if (int3) trap_put(&replayer->traps, actor->task, actor->real);
    bool stopped;
    do stopped = ptrace(actor->dispatched ? PTRACE_CONT : PTRACE_SYSEMU, actor->real, 0, 0) != -1 && tracee_wait(actor->real, status);
    while (stopped && replayer_stop_of(actor, *status) == STOP_NONE);
    if (int3) trap_take(&replayer->traps, actor->real);
    bool lives = stopped && WIFSTOPPED(*status) && tracee_get_registers(actor->real, &actor->registers) == 0;
    replayer->looked = lives && detoured && detour_take(&replayer->detour, actor, *status, &replayer->traps);
    return lives;
}

/* Steps over an int3 of ours, at which a task stands. False where that ends in a stop. */
static bool pass(struct replayer *replayer, struct actor *actor)
{
    uint64_t hit;
    actor->met = false;
    detour_leave(&replayer->detour, actor);
    if (!step_actor(replayer, actor, &hit)) return false;
    return !hit || !trap_count(&replayer->traps, actor->task, actor->real, hit, event_behind(replayer, actor), ticks_behind(actor));
}

/* The gate is ours, and so is the agent: no event may change them. */
static uint64_t end_of_ours(const struct actor *actor) { return actor->agent ? AGENT_END : GATE_PAGE + GATE_BYTES; }

static bool touches_gate(const struct actor *actor, uint64_t address, size_t size)
{
    return address < end_of_ours(actor) && address + size > GATE_PAGE;
}

/* Whether a task that has the registers of a place waits there, and so comes back to it. Otherwise it has gone on. */
static bool waits_there(struct actor *actor, const struct user_regs_struct *place)
{
    static const struct trap_set none;
    int status;
    actor->armed = 0;
    if (trap_arm(&none, actor->task, actor->real)) return false;
    for (unsigned i = 0; i < LONGEST_LOOP && !touches_gate(actor, actor->registers.rip, 1) && !tracee_at_call(actor->real, actor->registers.rip); i++) {
        if (ptrace(PTRACE_SINGLESTEP, actor->real, 0, 0) || !tracee_wait(actor->real, &status) || status >> 8 != SIGTRAP) return false;
        if (tracee_get_registers(actor->real, &actor->registers)) return false;
        if (tracee_same_place(&actor->registers, place)) return true;
    }
    return false;
}

bool replayer_has_come(struct actor *actor, const struct point *point)
{
    if (actor->registers.rip != point->registers.rip || !is_at_point(actor->real, &actor->registers, point)) return false;
    return point->keeps || waits_there(actor, &point->registers);
}

static void run_to_stop(struct replayer *replayer, struct actor *actor, bool int3, uint64_t ticks, const struct point *point)
{
    int status = 0;
    actor->restarted = false;
    actor->signal = 0;
    replayer_wind(replayer, actor, ticks);
    for (bool looked = false;; looked = replayer->looked) {
        if (point && replayer_has_come(actor, point)) {
            actor->stop = set_resume_flag(actor, false) ? STOP_POINT : STOP_DEAD; /* which the kernel has set at a debug register */
            note_ticks(replayer, actor);
            return;
        }
        replayer_prepare(replayer, actor); /* anew, where it has been led there by steps */
        /* What lies where the task stands is met before it is passed. */
        bool stands = point && actor->registers.rip == point->registers.rip && (looked || actor->met);
        bool steps = (actor->met && int3 && trap_at(&replayer->traps, actor->task, actor->real, actor->registers.rip)) || (stands && !replayer->detour.page) || replayer->detour.written;
        if (steps && !pass(replayer, actor)) {
            if (actor->stop == STOP_TRAP) note_ticks(replayer, actor);
            return;
        }
        replayer->looked = false;
        if (steps) continue;
        replayer->detour.passes = stands;
        bool met = actor->met;
        actor->stop = STOP_DEAD;
        actor->met = false;
        if (met && replayer->traps.count && !set_resume_flag(actor, true)) return;
        if (!run_once(replayer, actor, int3, &status)) return;
        if (replayer->looked) continue;
        enum meeting meeting = meet(replayer, actor, status);
        if (meeting == STOPPED) {
            actor->stop = set_resume_flag(actor, false) ? STOP_TRAP : STOP_DEAD;
            note_ticks(replayer, actor);
        }
        if (meeting == STOPPED || meeting == FAILED) return;
        if (meeting == NOT_MET && !(WSTOPSIG(status) == SIGSEGV && recover_replayed_copy(actor, &replayer->agent))) break;
    }
    actor->stop = replayer_stop_of(actor, status);
    if (actor->stop == STOP_FAULT) actor->signal = WSTOPSIG(status);
    if (actor->stop != STOP_TICK) return;
    note_ticks(replayer, actor);
    if (!leave_trampoline(actor->real, &actor->registers)) actor->stop = STOP_DEAD;
}

void replayer_run_to_stop(struct replayer *replayer, struct actor *actor)
{
    struct detour detour = replayer->detour;
    replayer->detour = (struct detour){0};
    actor->met = true;
    run_to_stop(replayer, actor, false, 0, NULL);
    replayer->detour = detour;
}

/* Instructions that are executed elsewhere meet no trap where they lie. */
static bool lies_trap_within(const struct replayer *replayer, const struct point *point)
{
    uint64_t end = point->registers.rip + point->moved.size;
    for (size_t i = 0; i < replayer->traps.count; i++) {
        const struct trap *trap = &replayer->traps.trap[i];
        if (trap->kind == TRAP_EXECUTE && trap->address > point->registers.rip && trap->address < end) return true;
    }
    return false;
}

/* The clock, if there is one, stops a task that goes past the place. */
static void run_to_point(struct replayer *replayer, struct actor *actor, const struct way *way)
{
    if (actor->stop != STOP_TRAP && tracee_get_registers(actor->real, &actor->registers)) {
        actor->stop = STOP_DEAD;
        return;
    }
    detour_begin(&replayer->detour, &way->point, !trap_bits(&replayer->traps, TRAP_ACCESS), !lies_trap_within(replayer, &way->point));
    run_to_stop(replayer, actor, true, way->ticks + 1, &way->point);
    detour_end(&replayer->detour, actor);
}

void replayer_run_on(struct replayer *replayer, struct actor *actor, const struct way *way)
{
    bool amid = actor->stop == STOP_TRAP, ticks = !way->pointed || way->ticks > replayer->due_ticks;
    replayer_prepare(replayer, actor);
    actor->met &= amid;
    uint64_t hit = amid ? 0 : replayer_written(replayer, actor);
    if (hit && trap_count(&replayer->traps, actor->task, actor->real, hit, replayer->position - 1, 0)) {
        actor->stop = STOP_TRAP;
        return;
    }
    if (ticks) run_to_stop(replayer, actor, true, way->ticks, NULL);
    if (way->pointed && (!ticks || actor->stop == STOP_TICK)) run_to_point(replayer, actor, way);
}

/* Events. */

static enum outcome damaged(struct replayer *replayer)
{
    replayer->cursor.bad = true;
    errno = EBADMSG;
    return OUTCOME_FAILED;
}

static enum outcome check_inputs(struct replayer *replayer, const struct actor *actor, const struct call *call)
{
    struct cursor cursor = call->inputs;
    uint64_t address;
    if (!has_changed(actor->real, &cursor, &address)) return OUTCOME_POSITION;
    if (cursor.bad) return damaged(replayer);
    return diverge(replayer, "the memory at %#llx that the call reads is not the recorded one", (unsigned long long)address);
}

static enum outcome check_call(struct replayer *replayer, const struct actor *actor, const struct call *call)
{
    const struct user_regs_struct *registers = &actor->registers;
    uint64_t arguments[6] = {registers->rdi, registers->rsi, registers->rdx, registers->r10, registers->r8, registers->r9};
    narrow_arguments(row_of(call->number, arguments), arguments);
    if (actor->stop == STOP_DEAD) return diverge(replayer, "the replayed task has ended");
    if (actor->stop == STOP_NONE) return diverge(replayer, "the task has not run to a system call");
    if (actor->stop == STOP_TICK) return diverge(replayer, "the replay has stopped at a tick");
    if (actor->stop == STOP_LOST)
        return diverge(replayer, "which watched place the program has used was lost with the processor's debug status, as happens in virtual machines of KVM before Linux 6.14: go there again");
    if (actor->stop == STOP_FAULT) {
        siginfo_t info = {0};
        ptrace(PTRACE_GETSIGINFO, actor->real, 0, &info);
        return diverge(replayer, "the replay got signal %d (code %d) instead of making the call", actor->signal, info.si_code);
    }
    bool restart = actor->restarted && call->number == SYS_restart_syscall;
    if (!restart && (uint32_t)registers->orig_rax != call->number)
        return diverge(replayer, "the replay makes system call %lld instead", (long long)registers->orig_rax);
    if (registers->rip != call->site && stub_site(actor, registers->rip) != call->site)
        return diverge(replayer, "the replay makes the call at %#llx instead", (unsigned long long)registers->rip);
    for (size_t i = 0; !restart && i < call->argument_count; i++)
        if (arguments[i] != call->arguments[i])
            return diverge(replayer, "argument %zu is %#llx in the replay", i + 1, (unsigned long long)arguments[i]);
    /* What a call that slept had read at its entry may have been changed since by the others. */
    return actor->arrival == replayer->position ? check_inputs(replayer, actor, call) : OUTCOME_POSITION;
}

static bool write_outputs(const struct actor *actor, struct cursor cursor, const struct origin *origin)
{
    size_t count = read_array(&cursor);
    for (size_t i = 0; i + 1 < count; i += 2) {
        size_t size;
        uint64_t address = read_unsigned(&cursor);
        const uint8_t *data = read_output(&cursor, origin, &size);
        if (cursor.bad || touches_gate(actor, address, size) || !tracee_write(actor->real, address, data, size)) return false;
    }
    return true;
}

/* The first write that fails is the last. */
static void write_all(struct replayer *replayer, int *descriptor, const uint8_t *data, size_t size)
{
    while (size && *descriptor >= 0) {
        ssize_t n = write(*descriptor, data, size);
        if (n >= 0) {
            data += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) { /* whoever shares it has made it non-blocking */
            poll(&(struct pollfd){*descriptor, POLLOUT, 0}, 1, -1);
        } else if (errno != EINTR) {
            if (errno != EPIPE) replayer->output_error = errno; /* else nobody wants it any more */
            *descriptor = -1;
        }
    }
}

static unsigned stream_of(const struct call *call) { return call->stream < 3 ? call->stream : 0; }

bool is_shown(const struct replayer *replayer, const struct call *call) { return replayer->streams[stream_of(call)] >= 0; }

static void show_output(struct replayer *replayer, const struct actor *actor, const struct call *call)
{
    int *descriptor = &replayer->streams[stream_of(call)];
    const struct syscall_row *row = row_of(call->number, call->arguments);
    if (*descriptor < 0 || !row) return;
    if (call->sent) {
        write_all(replayer, descriptor, call->sent, call->sent_size);
        return;
    }
    struct ranges ranges = {0};
    transfer_sent(actor->real, row, call->arguments, call->result, &ranges);
    for (size_t i = 0; i < ranges.count; i++) {
        size_t size = ranges.item[i].iov_len;
        uint8_t *data = malloc(size);
        if (data && tracee_read(actor->real, (uintptr_t)ranges.item[i].iov_base, data, size) == size) write_all(replayer, descriptor, data, size);
        free(data);
    }
    ranges_free(&ranges);
}

/* Memory management at the recorded addresses. */

static uint64_t page_up(uint64_t address) { return (address + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1); }

bool replayer_has_file(const struct replayer *replayer, uint64_t start, uint64_t size)
{
    for (size_t i = 0; i < replayer->file_count; i++)
        if (start < replayer->files[i].end && replayer->files[i].start < start + size) return true;
    return false;
}

static int64_t make_through_gate(void *maker, uint64_t number, const uint64_t arguments[6])
{
    struct actor *actor = maker;
    return spares(number, arguments, GATE_PAGE, end_of_ours(actor)) ? replayer_inject(actor, number, arguments) : -EPERM;
}

static int64_t move_brk(struct actor *actor, uint64_t wanted)
{
    uint64_t old = page_up(*actor->brk), new = page_up(wanted);
    int64_t result = 0;
    if (*actor->brk && new > old) {
        uint64_t mapping[6] = {0, new - old, PROT_READ | PROT_WRITE, MAP_PRIVATE};
        result = map_again(old, mapping, make_through_gate, actor);
    } else if (*actor->brk && new < old) {
        uint64_t unmapping[6] = {new, old - new};
        result = replayer_inject(actor, SYS_munmap, unmapping);
    }
    *actor->brk = wanted;
    return result < 0 ? result : (int64_t)wanted;
}

/* Carries out a memory call; the result must come out as recorded. False: it did not. */
static bool execute(struct actor *actor, const struct call *call)
{
    const uint64_t *arguments = call->arguments;
    switch (call->number) {
    case SYS_brk: return move_brk(actor, (uint64_t)call->result) == call->result;
    case SYS_arch_prctl:
        if (arguments[0] == ARCH_SET_FS) actor->registers.fs_base = arguments[1];
        if (arguments[0] == ARCH_SET_GS) actor->registers.gs_base = arguments[1];
        return true;
    default: return repeat_call(call, make_through_gate, actor);
    }
}

static bool is_memory_policy(const struct replayer *replayer, const struct call *call)
{
    if (call->result < 0) return false;
    if (call->number == SYS_shmat || call->number == SYS_shmdt) return true;
    if (call->number == SYS_setrlimit) return call->arguments[0] == RLIMIT_STACK;
    if (call->number == SYS_prlimit64) return call->arguments[1] == RLIMIT_STACK && call->arguments[2];
    if (call->number == SYS_madvise && (call->arguments[2] == MADV_DONTNEED || call->arguments[2] == MADV_FREE))
        return replayer_has_file(replayer, call->arguments[0], call->arguments[1]);
    return call->number == SYS_mremap && replayer_has_file(replayer, call->arguments[0], call->arguments[1]);
}

bool replayer_answer(struct actor *actor, int64_t result)
{
    actor->restarted = is_restart(result);
    if (actor->restarted) return true;
    actor->registers.rax = (uint64_t)result;
    actor->registers.orig_rax = (uint64_t)-1;
    actor->stop = STOP_NONE;
    return tracee_set_registers(actor->real, &actor->registers) == 0;
}

static bool set_state(struct actor *actor, const uint8_t *registers, size_t size, const uint8_t *xstate, size_t xstate_size)
{
    if (size != BYTES_OF_REGISTERS) return false;
    memcpy(&actor->registers, registers, size);
    actor->restarted = false;
    if (xstate_size && tracee_set_xstate(actor->real, xstate, xstate_size)) return false;
    actor->stop = STOP_NONE;
    return tracee_set_registers(actor->real, &actor->registers) == 0;
}

static enum outcome return_from_signal(struct replayer *replayer, struct actor *actor, const struct call *call)
{
    struct cursor cursor = call->inputs;
    size_t size, xstate_size;
    if (actor->stop != STOP_CALL || actor->registers.orig_rax != SYS_rt_sigreturn || actor->registers.rip != call->site)
        return diverge(replayer, "the replay does not return from its signal handler here");
    read_array(&cursor);
    read_unsigned(&cursor);
    const uint8_t *registers = read_binary(&cursor, &size);
    read_unsigned(&cursor);
    const uint8_t *xstate = read_binary(&cursor, &xstate_size);
    if (cursor.bad || !set_state(actor, registers, size, xstate, xstate_size)) return damaged(replayer);
    return OUTCOME_POSITION;
}

static void note_outputs(struct replayer *replayer, struct cursor cursor)
{
    const struct origin origin = {replayer->chunk, replayer->cursor.at};
    size_t count = read_array(&cursor);
    for (size_t i = 0; i + 1 < count && !cursor.bad; i += 2) {
        size_t size;
        uint64_t address = read_unsigned(&cursor);
        if (read_output(&cursor, &origin, &size)) trap_note_output(&replayer->traps, address, size);
    }
}

static enum outcome feed_call(struct replayer *replayer, struct actor *actor, struct cursor *cursor, size_t items)
{
    struct call call = read_call(cursor, items);
    if (cursor->bad) return damaged(replayer);
    if (replayer->noted) note_outputs(replayer, call.outputs);
    if (call.number == SYS_rt_sigreturn) return return_from_signal(replayer, actor, &call);
    enum outcome checked = check_call(replayer, actor, &call);
    if (checked != OUTCOME_POSITION) return checked;
    if (actor->agent) {
        uint64_t site = actor->registers.rip;
        follow_patch(actor, call.outputs);
        if (actor->registers.rip != site) replayer->traps.generation++; /* what is executed elsewhere now is armed there */
        actor->registers.rcx = call.site;
    }
    /* An output that is not plain bytes belongs to policy. */
    const struct origin origin = {replayer->chunk, replayer->cursor.at};
    const uint8_t *earliest = origin.event;
    if (!has_plain_outputs(&call, &origin, &earliest) || is_memory_policy(replayer, &call)) return OUTCOME_POLICY;
    const struct syscall_row *row = row_of(call.number, call.arguments);
    bool executes = row && (row->replay == REPLAY_EXECUTE || row->replay == REPLAY_SPECIAL);
    /* mprotect and madvise that meet a hole fail with what lies before it done. */
    bool partly = call.result == -ENOMEM && (call.number == SYS_mprotect || call.number == SYS_madvise);
    if (executes && (call.result >= 0 || partly) && !execute(actor, &call))
        return diverge(replayer, "the memory call could not be repeated at its recorded address");
    /* Shared memory that is mapped read-only cannot be written here: Python has its file. */
    if (!write_outputs(actor, call.outputs, &origin)) return OUTCOME_POLICY;
    if (call.stream) show_output(replayer, actor, &call);
    if (!replayer_answer(actor, call.result)) return damaged(replayer);
    return OUTCOME_POSITION;
}

static enum outcome feed_signal(struct replayer *replayer, struct actor *actor, struct cursor *cursor, size_t items)
{
    size_t size, xstate_size, frame_size, ignored;
    int signal = (int)read_unsigned(cursor);
    unsigned place = (unsigned)read_unsigned(cursor);
    read_binary(cursor, &ignored);
    const uint8_t *registers = read_binary(cursor, &size);
    const uint8_t *xstate = read_binary(cursor, &xstate_size);
    uint64_t stack = read_unsigned(cursor);
    const uint8_t *frame = read_binary(cursor, &frame_size);
    int cause = items > NUMBERS_IN_HEAD + 7 ? (int)read_unsigned(cursor) : signal;
    if (cursor->bad) return damaged(replayer);
    if (place == PLACE_FAULT && !(actor->stop == STOP_FAULT && actor->signal == cause))
        return diverge(replayer, "signal %d of the program's own making did not come in the replay", cause);
    if (place == PLACE_AT_ENTRY && actor->stop != STOP_CALL) return diverge(replayer, "signal %d came at a system call that the replay does not make", signal);
    if (touches_gate(actor, stack, frame_size) || !tracee_write(actor->real, stack, frame, frame_size)) return diverge(replayer, "the signal frame does not fit into the replayed memory");
    if (!set_state(actor, registers, size, xstate, xstate_size)) return damaged(replayer);
    return OUTCOME_POSITION;
}

static enum outcome feed_instruction(struct replayer *replayer, struct actor *actor, struct cursor *cursor)
{
    struct instruction instruction = {0};
    uint64_t address = read_unsigned(cursor);
    read_skip(cursor);
    instruction.length = (unsigned)read_unsigned(cursor);
    size_t count = read_array(cursor);
    if (count > 2 * MAX_CHANGES || instruction.length > 15) return damaged(replayer);
    for (size_t i = 0; i + 1 < count; i += 2) {
        instruction.index[instruction.changes] = (unsigned)read_unsigned(cursor);
        instruction.value[instruction.changes++] = read_unsigned(cursor);
    }
    if (cursor->bad) return damaged(replayer);
    if (actor->stop != STOP_FAULT || actor->registers.rip != address)
        return diverge(replayer, "the replay does not come to the instruction at %#llx", (unsigned long long)address);
    if (!instruction_apply(&instruction, &actor->registers) || tracee_set_registers(actor->real, &actor->registers)) return damaged(replayer);
    actor->stop = STOP_NONE;
    return OUTCOME_POSITION;
}

/* Where a task was left amid native code. */
static enum outcome feed_point(struct replayer *replayer, struct actor *actor, struct cursor *cursor, size_t items, const struct point *point)
{
    const struct origin origin = {replayer->chunk, replayer->cursor.at};
    if (actor->stop == STOP_LOST)
        return diverge(replayer, "whether the replay has come to %#llx, where the task was left amid its code, is not known with the places that are watched: go there again, or watch fewer", point->registers.rip);
    if (actor->stop != STOP_POINT) return diverge(replayer, "the replay does not come to %#llx, where the task was left amid its code", point->registers.rip);
    read_skip(cursor);
    read_skip(cursor);
    bool writes = items > NUMBERS_IN_HEAD + 3;
    if (writes && replayer->noted) note_outputs(replayer, *cursor);
    if (writes && !write_outputs(actor, *cursor, &origin)) return diverge(replayer, "what the task wrote while it waited is not there");
    actor->stop = STOP_NONE;
    return OUTCOME_POSITION;
}

static enum outcome feed_tick(struct replayer *replayer, struct actor *actor, struct cursor *cursor, size_t items)
{
    uint64_t ticks = read_unsigned(cursor);
    struct cursor behind = *cursor;
    struct point point;
    bool pointed = read_point(&behind, items, &point);
    const struct user_regs_struct *recorded = &point.registers;
    if (cursor->bad || behind.bad || !recorded->rip) return damaged(replayer);
    if (pointed) return feed_point(replayer, actor, cursor, items, &point);
    if (actor->stop != STOP_TICK) return diverge(replayer, "the replay does not come to tick %llu behind its last event", (unsigned long long)ticks);
    if (recorded->rip != actor->registers.rip) return diverge(replayer, "the replay is at %#llx at tick %llu", actor->registers.rip, (unsigned long long)ticks);
    if (memcmp(recorded, &actor->registers, sizeof *recorded)) return diverge(replayer, "the replay has other registers at tick %llu", (unsigned long long)ticks);
    actor->stop = STOP_NONE;
    return OUTCOME_POSITION;
}

static bool move_page(struct actor *actor, uint64_t from, uint64_t to)
{
    const uint64_t moving[6] = {from, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to};
    return replayer_inject(actor, SYS_mremap, moving) == (int64_t)to;
}

/* The task is about to use a page that its file does not have. Ours has it: it is away until then. */
static enum outcome feed_fault(struct replayer *replayer, struct actor *actor, struct cursor *cursor)
{
    static const uint64_t room[6] = {0, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1};
    uint64_t page = read_unsigned(cursor) & ~(uint64_t)(PAGE_BYTES - 1);
    if (cursor->bad || !page || touches_gate(actor, page, PAGE_BYTES)) return damaged(replayer);
    if (actor->stop != STOP_NONE) return diverge(replayer, "the task has run on since its last event");
    int64_t kept = replayer_inject(actor, SYS_mmap, room);
    if (kept < 0 || !move_page(actor, page, (uint64_t)kept)) return diverge(replayer, "nothing is mapped at %#llx in the replay", (unsigned long long)page);
    actor->missing = page;
    actor->kept = (uint64_t)kept;
    return OUTCOME_POSITION;
}

static void put_page_back(struct actor *actor)
{
    siginfo_t info;
    bool met = actor->stop == STOP_FAULT && actor->signal == SIGSEGV && ptrace(PTRACE_GETSIGINFO, actor->real, 0, &info) == 0;
    if (met && ((uintptr_t)info.si_addr & ~(uint64_t)(PAGE_BYTES - 1)) == actor->missing) actor->signal = SIGBUS;
    move_page(actor, actor->kept, actor->missing);
    actor->missing = actor->kept = 0;
}

/* The ticks behind its last event at which an event finds a task; 0: it is none of these. */
static uint64_t ticks_of(struct cursor cursor, const struct head *head, pid_t task)
{
    if (head->task != task) return 0;
    if (head->kind == EVENT_TICK) return read_unsigned(&cursor);
    if (head->kind != EVENT_EXIT || head->items <= NUMBERS_IN_HEAD + 3) return 0;
    for (unsigned i = 0; i < 3; i++) read_skip(&cursor);
    return read_unsigned(&cursor);
}

/* Whether the task must not run on before this event: it found the task right behind its last one. */
static bool finds_behind(struct cursor cursor, const struct head *head)
{
    if (head->kind == EVENT_SIGNAL) {
        read_unsigned(&cursor);
        return read_unsigned(&cursor) == PLACE_BEHIND_EVENT;
    }
    if (head->kind == EVENT_LEAVE || head->kind == EVENT_STOPPED || head->kind == EVENT_FAULT) return true;
    if (ticks_of(cursor, head, head->task)) return false;
    if (head->kind == EVENT_EXIT || head->kind == EVENT_CHECKSUM) {
        read_unsigned(&cursor);
        return read_unsigned(&cursor) == 0;
    }
    return false;
}

bool waits_behind(struct cursor cursor, pid_t task)
{
    struct head head = read_head(&cursor);
    return head.task == task && (head.kind == EVENT_TICK || ticks_of(cursor, &head, task) || finds_behind(cursor, &head));
}

/* How the task that is due comes to the next event. */
static struct way way_to(struct cursor cursor, const struct head *head, pid_t task)
{
    struct way way = {.ticks = ticks_of(cursor, head, task)};
    if (head->task != task || head->kind != EVENT_TICK) return way;
    read_unsigned(&cursor);
    way.pointed = read_point(&cursor, head->items, &way.point);
    return way;
}

bool replayer_runs_on(const struct replayer *replayer, const struct actor *actor, struct way *way)
{
    struct cursor cursor = replayer->cursor;
    struct head head = read_head(&cursor);
    *way = way_to(cursor, &head, actor->task);
    return !(head.task == actor->task && finds_behind(cursor, &head));
}

void replayer_advance(struct replayer *replayer, struct actor *due)
{
    read_skip(&replayer->cursor);
    replayer->position++;
    replayer->due = due;
    replayer->due_ticks = 0;
}

int replayer_skip(struct replayer *replayer, uint64_t position)
{
    if (replayer->position > position || replayer->chunk_end < position) return -EINVAL;
    while (replayer->position < position) replayer_advance(replayer, NULL);
    return replayer->cursor.bad ? -EBADMSG : 0;
}

/* Runs the due task on; whether it stays due, amid its way to the next event. */
static bool run_due(struct replayer *replayer, uint64_t until, int64_t ticks, struct way way)
{
    struct actor *due = replayer->due;
    uint64_t most = way.pointed ? way.ticks + 1 : way.ticks ? way.ticks : UINT64_MAX;
    bool partly = ticks != TO_NEXT_STOP && replayer->position == until && (uint64_t)ticks < most;
    if (partly && (uint64_t)ticks <= replayer->due_ticks) return true;
    if (partly) way = (struct way){.ticks = (uint64_t)ticks};
    replayer->offered = due->agent && !way.ticks && !way.pointed ? offer(replayer, due, ticks == TO_NEXT_STOP || !until ? until : until - 1) : 0;
    replayer_run_on(replayer, due, &way);
    if (replayer->offered && due->stop != STOP_DEAD && !take_back(replayer, due, replayer->offered)) replayer->cursor.bad = true;
    replayer->offered = 0;
    if (due->stop == STOP_TRAP) return true;
    if (due->missing) put_page_back(due);
    due->arrival = replayer->position;
    if (partly && due->stop == STOP_TICK) {
        due->stop = STOP_NONE;
        return true;
    }
    replayer->due = NULL;
    return false;
}

static enum outcome run_loop(struct replayer *replayer, uint64_t until, int64_t ticks)
{
    for (;;) {
        if (replayer->cursor.bad) return damaged(replayer);
        bool known = replayer->position < replayer->chunk_end;
        if (!known && replayer->position < until) return OUTCOME_CHUNK;
        struct cursor cursor = replayer->cursor;
        struct head head = {0};
        if (known) head = read_head(&cursor);
        if (cursor.bad) return damaged(replayer);
        if (replayer->due) {
            struct actor *due = replayer->due;
            if (!known) return OUTCOME_CHUNK;
            if (!(due->task == head.task && finds_behind(cursor, &head))) {
                if (run_due(replayer, until, ticks, way_to(cursor, &head, due->task))) return due->stop == STOP_TRAP ? OUTCOME_TRAP : OUTCOME_POSITION;
                continue;
            }
            due->arrival = replayer->position;
            replayer->due = NULL;
        }
        if (replayer->position >= until) return OUTCOME_POSITION;
        struct actor *actor = replayer_find(replayer, head.task);
        enum outcome outcome;
        replayer->noted = actor && trap_note(&replayer->traps, actor->real) ? actor : NULL;
        switch (head.kind) {
        case EVENT_SYSCALL:
            if (!actor) return diverge(replayer, "there is no such task");
            outcome = feed_call(replayer, actor, &cursor, head.items);
            break;
        case EVENT_SIGNAL:
            if (!actor) return diverge(replayer, "there is no such task");
            outcome = feed_signal(replayer, actor, &cursor, head.items);
            break;
        case EVENT_STOPPED:
        case EVENT_CONTINUED:
            if (!actor) return diverge(replayer, "there is no such task");
            outcome = actor->stop == STOP_NONE || actor->restarted ? OUTCOME_POSITION : diverge(replayer, "the task has run on since its last event");
            break;
        case EVENT_INSTRUCTION:
            if (!actor) return diverge(replayer, "there is no such task");
            outcome = feed_instruction(replayer, actor, &cursor);
            break;
        case EVENT_TICK:
            if (!actor) return diverge(replayer, "there is no such task");
            outcome = feed_tick(replayer, actor, &cursor, head.items);
            break;
        case EVENT_FAULT:
            if (!actor) return diverge(replayer, "there is no such task");
            outcome = feed_fault(replayer, actor, &cursor);
            break;
        case EVENT_NOTE: replayer_advance(replayer, NULL); continue;
        default: return OUTCOME_POLICY;
        }
        if (outcome != OUTCOME_POSITION) return outcome;
        bool stays = actor->restarted || head.kind == EVENT_STOPPED || head.kind == EVENT_TICK;
        replayer_advance(replayer, stays ? NULL : actor);
    }
}

enum outcome replayer_run(struct replayer *replayer, uint64_t until, int64_t ticks)
{
    trap_counter(true);
    trap_set_begin(&replayer->traps, replayer->position - 1);
    enum outcome outcome = run_loop(replayer, until, ticks);
    int error = errno;
    trap_counter(false);
    errno = error;
    return outcome;
}
