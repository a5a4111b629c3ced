#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"
#include "instruction.h"

enum { PATIENCE = 16, FRAME_LIMIT = 65536, FRAME_RIP = 8 + 40 + 128 /* see frame_size */, QUEUED_SIGNALS = 32 };

void note_mask(struct task *task) { ptrace(PTRACE_GETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask); }

static bool is_fault(int signal, const siginfo_t *info)
{
    return info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGTRAP);
}

static bool is_harmless_by_default(int signal)
{
    return signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT;
}

uint64_t ignored_signals(const struct group *group)
{
    uint64_t set = 0;
    for (int signal = 1; signal < SIGNALS; signal++)
        if (group->disposition[signal] == DISPOSITION_IGNORE || (group->disposition[signal] == DISPOSITION_DEFAULT && is_harmless_by_default(signal)))
            set |= UINT64_C(1) << (signal - 1);
    return set;
}

static bool has_handler(const struct task *task, int signal)
{
    return signal < SIGNALS && task->group->disposition[signal] == DISPOSITION_HANDLER;
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

void undo_force(const struct recorder *recorder, struct task *task, int signal)
{
    uint8_t disposition = task->group->disposition[signal];
    bool blocked = task->mask & UINT64_C(1) << (signal - 1);
    if (!blocked && disposition != DISPOSITION_IGNORE) return;
    if (disposition != DISPOSITION_DEFAULT) {
        const struct kernel_sigaction *action = signal == SIGSEGV   ? &task->group->on_segv
                                                : signal == SIGBUS  ? &task->group->on_bus
                                                : signal == SIGTRAP ? &task->group->on_trap
                                                                    : &task->group->on_ill;
        struct user_regs_struct registers;
        struct kernel_sigaction saved;
        bool dead;
        if (tracee_get_registers(task->turn.tid, &registers)) return;
        uint64_t room = registers.rsp - 1024; /* below the red zone */
        if (tracee_read(task->turn.tid, room, &saved, sizeof saved) != sizeof saved) return;
        const uint64_t arguments[6] = {(uint64_t)signal, room, 0, 8};
        /* A call anywhere else would be sent to us. */
        uint64_t place = task->group->space->agent ? AGENT_TEXT + recorder->agent.places.traced : 0;
        tracee_write(task->turn.tid, room, action, sizeof *action);
        tracee_inject_at(task->turn.tid, place, SYS_rt_sigaction, arguments, &dead);
        if (dead) return;
        tracee_write(task->turn.tid, room, &saved, sizeof saved);
    }
    ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask);
}

/* A thread of OpenBLAS looks at the counter until it has waited for 30 ms, or been given work: each time a stop, of 10
   microseconds, while nobody works who could give it some. It may be left at the stop, which replay comes to as well. */
static bool stands_back(struct recorder *recorder, struct task *task)
{
    bool again = task->stood_back, in_row = task->asked_time_at == recorder->event_count;
    task->stood_back = false;
    /* Ticks are counted from event to event, of all tasks of a program by one counter. */
    bool ticked = is_clocked(task) && passed_ticks(task);
    if (again || ticked || recorder->scheduler.policy != POLICY_TURNS) return false;
    task->asked_time = in_row ? task->asked_time + 1 : 0;
    task->asked_time_at = recorder->event_count + 1;
    if (task->asked_time < PATIENCE) return false;
    task->asked_time = 0;
    scheduler_yield(&recorder->scheduler);
    task->turn.state = TASK_PENDING;
    return task->stood_back = true;
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
    if (signal == SIGSEGV && stands_back(recorder, task)) return true;
    put_instruction(recorder, task, registers.rip, &instruction);
    if (!instruction_apply(&instruction, &registers) || tracee_set_registers(task->turn.tid, &registers)) return false;
    undo_force(recorder, task, signal);
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
    if (tracee_settle_xstate(task->turn.tid, area, &size, true)) size = 0;
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

static void hold(struct task *task, const siginfo_t *info)
{
    if (!task->held_count) read_clock(&task->held_since);
    /* One of these that waits already is not queued again (legacy_queue, kernel/signal.c). */
    for (unsigned i = 0; i < task->held_count && info->si_signo < QUEUED_SIGNALS; i++)
        if (task->held[i].si_signo == info->si_signo) return;
    if (task->held_count < MAX_HELD) task->held[task->held_count++] = *info;
}

/* A handler sees its program in the program's own code. It returns by rt_sigreturn, which puts the task back into the stub. The
   frame is changed, and not the task before: stepping looks at the instruction that comes next (is_setting_trap_flag,
   arch/x86/kernel/step.c). */
static void unmove_frame(const struct task *task)
{
    struct user_regs_struct registers;
    uint64_t rip;
    if (tracee_get_registers(task->turn.tid, &registers)) return;
    if (tracee_read(task->turn.tid, registers.rsp + FRAME_RIP, &rip, sizeof rip) != sizeof rip) return;
    uint64_t own = space_unmoved(task->group->space, rip);
    if (own != rip) tracee_write(task->turn.tid, registers.rsp + FRAME_RIP, &own, sizeof own);
}

/* A trap of the program's own filter tells where the call was made. */
static siginfo_t unmove_trap(const struct task *task, const siginfo_t *info)
{
    siginfo_t own = *info;
    if (own.si_signo != SIGSYS || own.si_code <= 0) return own;
    own.si_call_addr = (void *)(uintptr_t)space_unmoved(task->group->space, (uintptr_t)own.si_call_addr);
    ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, &own);
    return own;
}

/* The kernel is asked again: of a signal that has been held, or passed over. False: it has no room. */
static bool forward(struct task *task, const siginfo_t *info)
{
    /* One of these that is on its way is not queued again; it is no more, where the task has stopped for it. */
    unsigned at = task->forwarded_count;
    bool stopped = task->turn.state == TASK_PENDING && task->status >> 8 == info->si_signo;
    for (unsigned i = 0; i < task->forwarded_count && info->si_signo < QUEUED_SIGNALS && !stopped; i++)
        if (task->forwarded[i].si_signo == info->si_signo) at = i;
    if (at == MAX_HELD || syscall(SYS_tgkill, task->group->pid, task->turn.tid, info->si_signo)) return false;
    task->forwarded[at] = *info;
    task->forwarded_count += at == task->forwarded_count;
    return true;
}

/* A handler that blocks what is held may look for it, or wait for it. */
static void give_blocked_back(struct task *task)
{
    unsigned left = 0;
    for (unsigned i = 0; i < task->held_count; i++) {
        bool blocked = task->mask & UINT64_C(1) << (task->held[i].si_signo - 1);
        if (!blocked || !forward(task, &task->held[i])) task->held[left++] = task->held[i];
    }
    task->held_count = left;
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
    siginfo_t own = unmove_trap(task, info);
    if (ptrace(PTRACE_SINGLESTEP, task->turn.tid, 0, signal) == -1 || !tracee_wait(task->turn.tid, &status)) return;
    if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP && status >> 16 == 0) {
        if (group->once[signal]) group->disposition[signal] = DISPOSITION_DEFAULT;
        unmove_frame(task);
        put_signal(recorder, task, &own, place);
        give_blocked_back(task);
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

static siginfo_t take_held(struct task *task)
{
    siginfo_t info = task->held[0];
    memmove(task->held, task->held + 1, --task->held_count * sizeof *task->held);
    return info;
}

/* The task stands right behind the event of its tick. */
void deliver_at_tick(struct recorder *recorder, struct task *task)
{
    siginfo_t info = take_held(task);
    uint64_t events = recorder->event_count;
    if (ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, &info) == 0) deliver(recorder, task, &info, PLACE_BEHIND_EVENT, true);
    if (recorder->event_count != events || task->turn.state != TASK_READY || task->fatal_behind) return;
    /* It stops the task as soon as that goes on, or has been ignored since. */
    task->preempted = true;
    task->stops = stops_by_default(info.si_signo) && task->group->disposition[info.si_signo] == DISPOSITION_DEFAULT;
    if (!task->stops) task->resume_signal = 0;
}

static uint64_t word_at(const struct task *task, uint64_t address)
{
    uint64_t word = 0;
    return address && tracee_read(task->turn.tid, address, &word, sizeof word) == sizeof word ? word : 0;
}

/* Whether reading waits until there is something. The memory devices look at signals amid their work (drivers/char/mem.c, random.c),
   and a signalfd takes them. */
static bool waits_to_read(const struct task *task, uint64_t descriptor)
{
    enum { MEMORY_DEVICES = 1 };
    char path[64], target[64] = "";
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->turn.tid, (int)descriptor);
    if (stat(path, &status) || readlink(path, target, sizeof target - 1) < 0) return false;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode)) return false;
    if (S_ISCHR(status.st_mode) && major(status.st_rdev) == MEMORY_DEVICES) return false;
    return strcmp(target, "anon_inode:[signalfd]") != 0;
}

/* A timeval or timespec that is not zero, or none. */
static bool has_time(const struct task *task, uint64_t address)
{
    return !address || word_at(task, address) || word_at(task, address + 8);
}

static bool waits_for_futex(uint64_t operation)
{
    switch ((uint32_t)operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAIT_REQUEUE_PI: return true;
    default: return false;
    }
}

/* Calls that do nothing but wait, or whose result is what they have waited for: a signal that comes before there is any ends them. Of
   others that may sleep it would end early what needs no sleep, as a write to a terminal (n_tty_write, drivers/tty/n_tty.c). `excepted`
   are the signals that do not end it: those that it blocks itself, or takes. */
static bool waits_for_signals(const struct task *task, uint64_t number, const uint64_t arguments[6], uint64_t *excepted)
{
    *excepted = 0;
    switch (number) {
    case SYS_rt_sigtimedwait:
    case SYS_rt_sigsuspend: *excepted = word_at(task, arguments[0]); return true;
    case SYS_ppoll: *excepted = word_at(task, arguments[3]); return has_time(task, arguments[2]);
    case SYS_pselect6: *excepted = word_at(task, word_at(task, arguments[5])); return has_time(task, arguments[4]);
    case SYS_epoll_pwait: *excepted = word_at(task, arguments[4]); return (int)arguments[3] != 0;
    case SYS_epoll_pwait2: *excepted = word_at(task, arguments[4]); return has_time(task, arguments[3]);
    case SYS_select: return has_time(task, arguments[4]);
    case SYS_poll: return (int)arguments[2] != 0;
    case SYS_epoll_wait: return (int)arguments[3] != 0;
    case SYS_read:
    case SYS_readv: return waits_to_read(task, arguments[0]);
    case SYS_wait4: return !(arguments[2] & WNOHANG);
    case SYS_waitid: return !(arguments[3] & WNOHANG);
    case SYS_nanosleep: return has_time(task, arguments[0]);
    case SYS_clock_nanosleep: return has_time(task, arguments[2]);
    case SYS_semtimedop: return has_time(task, arguments[3]);
    case SYS_futex: return waits_for_futex(arguments[1]) && has_time(task, arguments[3]);
    case SYS_fcntl: return (int)arguments[1] == F_SETLKW || (int)arguments[1] == F_OFD_SETLKW;
    case SYS_pause:
    case SYS_restart_syscall:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_semop:
    case SYS_msgrcv:
    case SYS_msgsnd:
    case SYS_mq_timedreceive:
    case SYS_mq_timedsend:
    case SYS_flock: return true;
    default: return false;
    }
}

bool interrupts(const struct task *task, int signal, uint64_t number, const struct user_regs_struct *registers)
{
    const uint64_t arguments[6] = {registers->rdi, registers->rsi, registers->rdx, registers->r10, registers->r8, registers->r9};
    uint64_t excepted;
    /* To send those of job control has effects of its own (prepare_signal, kernel/signal.c). Those of timers that count the processor's
       time come where that is used, and not where a task waits. */
    if (!has_handler(task, signal) || stops_by_default(signal) || signal == SIGCONT || signal == SIGPROF || signal == SIGVTALRM || task->forwarded_count == MAX_HELD) return false;
    if (!waits_for_signals(task, (uint32_t)number, arguments, &excepted) || excepted & UINT64_C(1) << (signal - 1)) return false;
    return syscall(SYS_tgkill, task->group->pid, task->turn.tid, 0) == 0;
}

/* Brings the first held signal that is not blocked to the front: a handler that runs may block others until it
   returns. With `registers`, of those that come before that call. */
static bool choose(struct task *task, uint64_t number, const struct user_regs_struct *registers)
{
    uint64_t mask = 0;
    if (!task->held_count || ptrace(PTRACE_GETSIGMASK, task->turn.tid, sizeof mask, &mask) == -1) return false;
    for (unsigned i = 0; i < task->held_count; i++) {
        siginfo_t info = task->held[i];
        if (mask & UINT64_C(1) << (info.si_signo - 1) || (registers && interrupts(task, info.si_signo, number, registers))) continue;
        memmove(task->held + 1, task->held, i * sizeof *task->held);
        task->held[0] = info;
        return true;
    }
    return false;
}

bool choose_held(struct task *task) { return choose(task, 0, NULL); }

bool choose_before_call(struct task *task, uint64_t number, const struct user_regs_struct *registers)
{
    bool chosen = choose(task, number, registers);
    task->meets = !chosen && choose_held(task);
    return chosen;
}

void deliver_held(struct recorder *recorder, struct task *task)
{
    if (!choose_before_call(task, task->entry.rax, &task->entry) || !call_off(task)) return;
    siginfo_t info = take_held(task);
    if (ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, &info) == 0) deliver(recorder, task, &info, PLACE_AT_ENTRY, true);
}

/* Whether the task has not run since its last event. */
static bool is_behind_event(const struct task *task, const struct user_regs_struct *present)
{
    if (task->preempted || task->stops) return true;
    /* A loop comes by the same place again, at another tick. */
    if (is_clocked(task) && passed_ticks(task)) return false;
    return task->at_boundary && present->rip == task->exit.rip && present->rsp == task->exit.rsp && present->rcx == task->exit.rcx;
}

/* A fault that nobody handles does not end the first process of a namespace while it is traced (force_sig_info_to_task,
   kernel/signal.c): it is let go to make its fault again. */
static bool ends_untraced(const struct task *task, int signal)
{
    return task->group->disposition[signal] != DISPOSITION_HANDLER && task->group->tasks == 1 && is_namespace_init(task->group->pid);
}

/* Where a mapped file ends is nothing that a replay could know: others change it, too. */
static void put_fault(struct recorder *recorder, const struct task *task, const siginfo_t *info)
{
    recorder_begin_event(recorder, EVENT_FAULT, task->turn.tid, 1);
    wire_unsigned(&recorder->events, (uintptr_t)info->si_addr);
}

static bool is_for_process(const siginfo_t *info)
{
    return info->si_code == SI_USER || info->si_code == SI_KERNEL || (info->si_signo == SIGCHLD && info->si_code > 0);
}

/* A signal of a process goes to its first task, and to another only if that is stopped or blocks it (complete_signal and
   wants_signal, kernel/signal.c). A task that is not to run yet is stopped, but only for us. NULL: it was not left out. */
static struct task *passed_over(const struct recorder *recorder, const struct task *task, const siginfo_t *info)
{
    struct task *leader = is_for_process(info) ? recorder_find(recorder, task->group->pid) : NULL;
    if (!leader || leader == task || leader->group != task->group || leader->stopped || tracee_state(leader->turn.tid) != 't') return NULL;
    if (leader->status >> 16 == PTRACE_EVENT_EXIT || group_stopped(leader->status)) return NULL;
    uint64_t mask = leader->mask;
    if (!leader->undisturbed && ptrace(PTRACE_GETSIGMASK, leader->turn.tid, sizeof mask, &mask) == -1) return NULL;
    return mask & UINT64_C(1) << (info->si_signo - 1) ? NULL : leader;
}

void interrupt_call(struct task *task)
{
    while (choose_held(task) && interrupts(task, task->held[0].si_signo, task->entry.orig_rax, &task->entry) && forward(task, &task->held[0]))
        take_held(task);
}

bool take_forwarded(struct task *task, siginfo_t *info)
{
    /* From us; and where no more may be queued, from nobody (__send_signal_locked, kernel/signal.c). */
    bool ours = info->si_code == SI_TKILL && (info->si_pid == getpid() || !info->si_pid), bare = info->si_code == SI_USER && !info->si_pid;
    if (!ours && !bare) return false;
    for (unsigned i = 0; i < task->forwarded_count; i++) {
        if (task->forwarded[i].si_signo != info->si_signo) continue;
        *info = task->forwarded[i];
        memmove(task->forwarded + i, task->forwarded + i + 1, (--task->forwarded_count - i) * sizeof *info);
        ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, info);
        return true;
    }
    return false;
}

bool hold_on_way(const struct recorder *recorder, struct task *task, int status)
{
    siginfo_t info;
    int signal = WSTOPSIG(status);
    if (!WIFSTOPPED(status) || status >> 16 || ptrace(PTRACE_GETSIGINFO, task->turn.tid, 0, &info) == -1 || is_fault(signal, &info)) return false;
    if (!has_handler(task, signal) || task->held_count == MAX_HELD || passed_over(recorder, task, &info)) return false;
    take_forwarded(task, &info);
    if (!task->held_count) task->held_until = task->turn.all_ticks;
    hold(task, &info);
    return true;
}

enum request stop_by_signal(struct recorder *recorder, struct task *task, int signal)
{
    siginfo_t info;
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETSIGINFO, task->turn.tid, 0, &info) == -1) return REQUEST_NONE;
    bool forwarded = take_forwarded(task, &info);
    if (signal == SIGSYS && info.si_code == SYS_USER_DISPATCH_ && task->group->space->agent) return stop_by_dispatch(recorder, task);
    if (signal == SIGTRAP && info.si_code == SI_KERNEL && stop_at_tick(recorder, task)) return REQUEST_NONE;
    if ((signal == SIGSEGV || signal == SIGBUS) && is_fault(signal, &info) && recover_copy(recorder, task, signal)) return REQUEST_NONE;
    if (signal == SIGSEGV && info.si_code == SI_KERNEL && task->frameless) {
        deliver(recorder, task, &info, task->frameless_place, true);
        return REQUEST_NONE;
    }
    if (signal == SIGSEGV && info.si_code == SI_KERNEL && emulate(recorder, task, signal)) return REQUEST_NONE;
    if (signal == SIGILL && is_fault(signal, &info) && emulate(recorder, task, signal)) return REQUEST_NONE;
    if (task->injecting && signal == task->held[0].si_signo) {
        task->injecting = false;
        info = take_held(task);
        ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, &info);
        deliver(recorder, task, &info, PLACE_AT_ENTRY, true);
        return REQUEST_NONE;
    }
    if (is_fault(signal, &info)) {
        if (signal == SIGBUS && info.si_code == BUS_ADRERR) put_fault(recorder, task, &info);
        if (ends_untraced(task, signal)) {
            task->fatal_fault = true;
            return begin_exit(recorder, task, signal);
        }
        deliver(recorder, task, &info, PLACE_FAULT, true);
        return REQUEST_NONE;
    }
    if (adopt_interrupted(recorder, task) != REQUEST_NONE || tracee_get_registers(task->turn.tid, &registers)) return REQUEST_FAILED;
    bool no_handler = !has_handler(task, signal);
    if (no_handler && note_place(task)) {
        /* A task that stops or dies must not do so in the agent. And it may have set a handler there that we do not know of. */
        enum request request = leave_agent(recorder, task);
        if (task->turn.state == TASK_PENDING) return REQUEST_NONE;
        if (request != REQUEST_NONE) task->resume_signal = signal;
        if (request != REQUEST_NONE || tracee_get_registers(task->turn.tid, &registers)) return request;
        no_handler = !has_handler(task, signal);
    }
    struct task *leader = no_handler || forwarded ? NULL : passed_over(recorder, task, &info);
    if (leader && forward(leader, &info)) return REQUEST_NONE;
    bool boundary = is_behind_event(task, &registers);
    /* Death comes at a tick, so that replay finds the memory that was left; so does standing still, where others may look at it. */
    bool ignored = signal < SIGNALS && task->group->disposition[signal] == DISPOSITION_IGNORE;
    bool ends = no_handler && !ignored && !is_harmless_by_default(signal);
    bool waits = ends && is_clocked(task) && runs_free(task);
    if (task->redirected && !no_handler) {
        task->meets = task->held_count < MAX_HELD && interrupts(task, signal, registers.rax, &registers);
        if (task->meets) hold(task, &info);
        else if (call_off(task)) deliver(recorder, task, &info, PLACE_AT_ENTRY, true);
        return REQUEST_NONE;
    }
    if (boundary || (no_handler && !waits) || task->held_count == MAX_HELD) deliver(recorder, task, &info, PLACE_BEHIND_EVENT, boundary);
    else {
        if (!task->held_count) task->held_until = task->turn.all_ticks + scheduler_delay(&recorder->scheduler);
        hold(task, &info);
        call_attention(recorder, task, &registers);
    }
    return REQUEST_NONE;
}

bool group_stopped(int status)
{
    int signal = WSTOPSIG(status);
    return status >> 16 == PTRACE_EVENT_STOP && stops_by_default(signal);
}

/* The task waits for SIGCONT. Where it stands behind its last event, replay must hold it there; one that was stopped amid
   computation goes on to its next call first. */
void put_stopped(struct recorder *recorder, struct task *task, int signal)
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

void put_continued(struct recorder *recorder, struct task *task)
{
    recorder_begin_event(recorder, EVENT_CONTINUED, task->turn.tid, 0);
    task->stopped = task->fatal_behind = false;
}
