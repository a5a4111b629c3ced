#define _GNU_SOURCE
#include "tracee.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(sizeof(struct user_regs_struct) == 27 * 8, "the trace stores 27 registers");

int tracee_get_registers(pid_t tid, struct user_regs_struct *registers)
{
    return ptrace(PTRACE_GETREGS, tid, 0, registers) == -1 ? -1 : 0;
}

int tracee_set_registers(pid_t tid, const struct user_regs_struct *registers)
{
    return ptrace(PTRACE_SETREGS, tid, 0, registers) == -1 ? -1 : 0;
}

bool tracee_same_place(const struct user_regs_struct *one, const struct user_regs_struct *other)
{
    struct user_regs_struct registers = *one;
    if ((one->eflags ^ other->eflags) & ~(uint64_t)(TRAP_FLAG | RESUME_FLAG)) return false;
    registers.eflags = other->eflags;
    return memcmp(&registers, other, sizeof registers) == 0;
}

bool tracee_at_call(pid_t tid, uint64_t rip)
{
    uint8_t code[2];
    return tracee_read(tid, rip, code, sizeof code) != sizeof code || (code[0] == 0x0f && (code[1] == 0x05 || code[1] == 0x34)) || code[0] == 0xcd;
}

void tracee_prepare_call(struct user_regs_struct *registers, uint64_t number, const uint64_t arguments[6])
{
    registers->rax = number;
    registers->orig_rax = (uint64_t)-1;
    registers->rdi = arguments[0];
    registers->rsi = arguments[1];
    registers->rdx = arguments[2];
    registers->r10 = arguments[3];
    registers->r8 = arguments[4];
    registers->r9 = arguments[5];
}

int tracee_get_xstate(pid_t tid, void *area, size_t *size)
{
    struct iovec piece = {area, *size};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &piece) == -1) return -1;
    *size = piece.iov_len;
    return 0;
}

int tracee_set_xstate(pid_t tid, const void *area, size_t size)
{
    struct iovec piece = {(void *)area, size};
    return ptrace(PTRACE_SETREGSET, tid, (void *)NT_X86_XSTATE, &piece) == -1 ? -1 : 0;
}

/* What the processor holds for in use (XINUSE) is no function of what a program has executed: x87 and SSE registers that have
   their first values, behind an exec, at the beginning of a handler, are unused until the program writes one, or until
   the next interrupt that happens to reload them, be it the host's of this machine. A program sees it: `xsavec`, by which
   ld.so saves vector registers, leaves out what is not in use, and so does xgetbv(1). What is in use stays so: the two are told to be,
   as the kernel itself does it in each frame of a signal (save_xstate_epilog, arch/x86/kernel/fpu/signal.c). The
   values are those that PTRACE_GETREGSET has put into their places. AMD's processors do not hold to that: while all SSE registers are
   zero, their bit comes and goes. So a beginning finds a one in the last of them, whose value no program can expect (System V ABI, 3.4.1). */
static bool keeps_in_use(void) { return !__builtin_cpu_is("amd"); }

int tracee_settle_xstate(pid_t tid, void *area, size_t *size, bool begins)
{
    enum { SSE = 160, SSE_END = 416, XSTATE_BV = 512, X87_AND_SSE = 3 };
    if (tracee_get_xstate(tid, area, size)) return -1;
    uint8_t *state = area, *used = state + XSTATE_BV;
    if (*size <= XSTATE_BV) return 0;
    bool marks = begins && !keeps_in_use();
    for (unsigned i = SSE; i < SSE_END && marks; i++) marks = !state[i];
    if (!marks && (*used & X87_AND_SSE) == X87_AND_SSE) return 0;
    *used |= X87_AND_SSE;
    if (marks) state[SSE_END - 16] = 1;
    return tracee_set_xstate(tid, area, *size);
}

int tracee_open_memory(pid_t pid, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    return open(path, flags | O_CLOEXEC);
}

/* process_vm_readv obeys page protections and may be denied by a sandbox; /proc/PID/mem reads all that is mapped. */
static size_t read_memory_file(pid_t pid, uint64_t address, void *to, size_t size)
{
    int file = tracee_open_memory(pid, O_RDONLY);
    if (file < 0) return 0;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(file, (char *)to + done, size - done, (off_t)(address + done));
        if (n <= 0) break;
        done += (size_t)n;
    }
    close(file);
    return done;
}

size_t tracee_read(pid_t pid, uint64_t address, void *to, size_t size)
{
    if (address >= ADDRESS_LIMIT) return 0;
    if (size > ADDRESS_LIMIT - address) size = ADDRESS_LIMIT - address;
    if (size == 0) return 0;
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)address, size};
    ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (n == (ssize_t)size) return size;
    size_t done = n > 0 ? (size_t)n : 0;
    return done + read_memory_file(pid, address + done, (char *)to + done, size - done);
}

bool tracee_gather(pid_t pid, const struct iovec *remote, size_t count, void *to, size_t size)
{
    if (size == 0) return true;
    if (count <= IOV_MAX) {
        struct iovec local = {to, size};
        if (process_vm_readv(pid, &local, 1, remote, count, 0) == (ssize_t)size) return true;
    }
    char *end = to;
    for (size_t i = 0; i < count; i++) {
        if (tracee_read(pid, (uintptr_t)remote[i].iov_base, end, remote[i].iov_len) != remote[i].iov_len) return false;
        end += remote[i].iov_len;
    }
    return true;
}

bool tracee_write(pid_t pid, uint64_t address, const void *from, size_t size)
{
    if (size == 0) return true;
    if (address >= ADDRESS_LIMIT || size > ADDRESS_LIMIT - address) return false;
    struct iovec local = {(void *)from, size}, remote = {(void *)(uintptr_t)address, size};
    ssize_t n = process_vm_writev(pid, &local, 1, &remote, 1, 0);
    size_t done = n > 0 ? (size_t)n : 0;
    if (done == size) return true;
    int file = tracee_open_memory(pid, O_RDWR);
    if (file < 0) return false;
    while (done < size) {
        ssize_t m = pwrite(file, (const char *)from + done, size - done, (off_t)(address + done));
        if (m <= 0) break;
        done += (size_t)m;
    }
    close(file);
    return done == size;
}

int tracee_debug_stop(pid_t tid, int status, uint8_t code)
{
    enum { INT1 = 0xf1 };
    siginfo_t info;
    if (!WIFSTOPPED(status) || status >> 8 != SIGTRAP || ptrace(PTRACE_GETSIGINFO, tid, 0, &info)) return 0;
    bool debug = info.si_code == TRAP_TRACE_ || info.si_code == TRAP_HWBKPT_ || (info.si_code == TRAP_BRKPT_ && code != INT1);
    return debug ? info.si_code : 0;
}

bool tracee_wait(pid_t tid, int *status)
{
    pid_t waited;
    do waited = waitpid(tid, status, __WALL);
    while (waited == -1 && errno == EINTR);
    return waited == tid;
}

static bool step_to_syscall_stop(pid_t tid, pid_t *born)
{
    int status;
    unsigned long message;
    do {
        if (ptrace(PTRACE_SYSCALL, tid, 0, 0) == -1) return false;
        if (!tracee_wait(tid, &status) || !WIFSTOPPED(status) || status >> 16 == PTRACE_EVENT_EXIT) return false;
        int event = status >> 16;
        bool birth = event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE;
        if (birth && ptrace(PTRACE_GETEVENTMSG, tid, 0, &message) == 0) *born = (pid_t)message;
    } while (WSTOPSIG(status) != (SIGTRAP | 0x80));
    return true;
}

static int64_t inject_unmasked(pid_t tid, uint64_t place, uint64_t number, const uint64_t arguments[6], bool *dead, pid_t *born)
{
    struct user_regs_struct saved, registers;
    *dead = true;
    static const uint8_t syscall_instruction[SYSCALL_INSTRUCTION_BYTES] = {0x0f, 0x05};
    uint8_t code[SYSCALL_INSTRUCTION_BYTES];
    if (tracee_get_registers(tid, &saved)) return -ESRCH;
    /* Most tasks stand behind one: others that run there are none the wiser. */
    bool behind = !place && tracee_read(tid, saved.rip - sizeof code, code, sizeof code) == sizeof code;
    if (behind && memcmp(code, syscall_instruction, sizeof code) == 0) place = saved.rip - sizeof code;
    if (!place && tracee_read(tid, saved.rip, code, sizeof code) != sizeof code) return -EFAULT;
    if (!place && !tracee_write(tid, saved.rip, syscall_instruction, sizeof code)) return -EFAULT;
    registers = saved;
    if (place) registers.rip = place;
    tracee_prepare_call(&registers, number, arguments);
    if (tracee_set_registers(tid, &registers) || !step_to_syscall_stop(tid, born) || !step_to_syscall_stop(tid, born)) return -ESRCH;
    if (tracee_get_registers(tid, &registers)) return -ESRCH;
    int64_t result = (int64_t)registers.rax;
    if (!place && !tracee_write(tid, saved.rip, code, sizeof code)) return -ESRCH;
    if ((int64_t)saved.orig_rax >= 0 && is_restart((int64_t)saved.rax)) {
        saved.rax = (int64_t)saved.rax == -ERESTART_RESTARTBLOCK_ ? 219 : saved.orig_rax;
        saved.rip -= SYSCALL_INSTRUCTION_BYTES;
    }
    saved.orig_rax = (uint64_t)-1;
    if (tracee_set_registers(tid, &saved)) return -ESRCH;
    *dead = false;
    return result;
}

/* With all signals blocked: one that came in between would be taken for the end of the call. */
int64_t tracee_inject_clone(pid_t tid, uint64_t place, uint64_t number, const uint64_t arguments[6], bool *dead, pid_t *born)
{
    uint64_t mask, all = ~UINT64_C(0);
    *dead = true;
    if (ptrace(PTRACE_GETSIGMASK, tid, sizeof mask, &mask) == -1 || ptrace(PTRACE_SETSIGMASK, tid, sizeof all, &all) == -1) return -ESRCH;
    int64_t result = inject_unmasked(tid, place, number, arguments, dead, born);
    ptrace(PTRACE_SETSIGMASK, tid, sizeof mask, &mask);
    return result;
}

int64_t tracee_inject_at(pid_t tid, uint64_t place, uint64_t number, const uint64_t arguments[6], bool *dead)
{
    pid_t born;
    return tracee_inject_clone(tid, place, number, arguments, dead, &born);
}

int64_t tracee_inject(pid_t tid, uint64_t number, const uint64_t arguments[6], bool *dead) { return tracee_inject_at(tid, 0, number, arguments, dead); }

/* Below task/: the file of the whole process adds up all its threads (do_task_stat, fs/proc/array.c). */
char tracee_state(pid_t tid)
{
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", tid, tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t n = read(file, text, sizeof text - 1);
    close(file);
    if (n <= 0) return 0;
    text[n] = 0;
    char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end[2] : 0;
}
