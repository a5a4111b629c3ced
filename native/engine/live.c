#define _GNU_SOURCE
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../stub/gate.h"
#include "tracee.h"

#define PTRACE_OPTIONS \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL)

enum { COPIED_AT_ONCE = 1 << 20 };

static void seed_main(const char *seed, int gate)
{
    char go;
    sigset_t none;
    sigemptyset(&none);
    char *const empty[] = {NULL};
    char *const arguments[] = {(char *)"pyrr-seed", NULL};
    if (read(gate, &go, 1) != 1 || sigprocmask(SIG_SETMASK, &none, NULL)) _exit(127);
    execve(seed, arguments, empty);
    _exit(127);
}

static void end(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    while (tracee_wait(pid, &status) && WIFSTOPPED(status)) {}
}

/* Not through libc, which has no name for it: the child calls nothing that would know of its fork. */
static pid_t clone_with_id(pid_t wanted)
{
    struct clone_args arguments = {.exit_signal = SIGCHLD, .set_tid = wanted ? (uintptr_t)&wanted : 0, .set_tid_size = wanted ? 1 : 0};
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

static bool unmap(pid_t pid, uint64_t start, uint64_t end)
{
    bool dead;
    const uint64_t arguments[6] = {start, end - start};
    return tracee_inject_at(pid, GATE_PAGE, SYS_munmap, arguments, &dead) == 0;
}

static bool map(pid_t pid, uint64_t start, uint64_t size, uint64_t protection)
{
    bool dead;
    const uint64_t arguments[6] = {start, size, protection, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, (uint64_t)-1, 0};
    return tracee_inject_at(pid, GATE_PAGE, SYS_mmap, arguments, &dead) == (int64_t)start;
}

/* Leaves nothing but the page, made anonymous so that the process has no file mapped (prctl_set_mm_exe_file wants that), and
   memory for arguments behind it. */
static bool empty(pid_t pid)
{
    static const uint8_t gate[] = {0x0f, 0x05, 0xcc}; /* syscall; int3 */
    if (!unmap(pid, PAGE_BYTES, GATE_PAGE) || !unmap(pid, LIVE_ARGUMENTS, ADDRESS_LIMIT)) return false;
    if (!map(pid, GATE_PAGE, GATE_BYTES, PROT_READ | PROT_EXEC) || !tracee_write(pid, GATE_PAGE, gate, sizeof gate)) return false;
    return map(pid, LIVE_ARGUMENTS, LIVE_ARGUMENTS_BYTES, PROT_READ | PROT_WRITE);
}

pid_t live_start(const char *seed, pid_t wanted)
{
    int gate[2], status = 0;
    if (pipe2(gate, O_CLOEXEC)) return -errno;
    pid_t pid = clone_with_id(wanted);
    if (pid == 0) seed_main(seed, gate[0]);
    int error = pid < 0 ? errno : 0;
    close(gate[0]);
    if (!error && ptrace(PTRACE_SEIZE, pid, 0, PTRACE_OPTIONS) == -1) error = errno;
    if (!error && write(gate[1], "", 1) != 1) error = errno;
    close(gate[1]);
    /* Two stops: the new image, and its trap. */
    if (!error && (!tracee_wait(pid, &status) || status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))) error = ENOEXEC;
    if (!error && ptrace(PTRACE_CONT, pid, 0, 0) == -1) error = errno;
    if (!error && (!tracee_wait(pid, &status) || status >> 8 != SIGTRAP)) error = ENOEXEC;
    if (!error && !empty(pid)) error = ENOMEM;
    if (!error) return pid;
    if (pid > 0) end(pid);
    return -error;
}

/* Not in our own mount namespace: there the present ids are right. What is mounted onto a slave stays there. */
static void show_own_ids(void)
{
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/proc", NULL, MS_SLAVE, NULL) == 0)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void first_main(const char *seed, int ready, int gate)
{
    pid_t root;
    char *const empty[] = {NULL};
    char *const arguments[] = {(char *)"pyrr-first", (char *)"", NULL};
    if (setsid() < 0 || signal(SIGCHLD, SIG_IGN) == SIG_ERR || chdir("/")) _exit(127);
    show_own_ids();
    if (write(ready, "", 1) != 1 || read(gate, &root, sizeof root) != sizeof root) _exit(127);
    int ends = (int)syscall(SYS_pidfd_open, root, 0);
    if (ends < 0 || dup2(ends, 0) || syscall(SYS_close_range, 1, ~0U, 0)) _exit(127);
    execve(seed, arguments, empty);
    _exit(127);
}

pid_t live_own_ids(const char *seed, int *gate)
{
    int ready[2], gates[2];
    char done;
    if (unshare(CLONE_NEWPID)) return -errno;
    if (pipe2(ready, O_CLOEXEC)) return -errno;
    if (pipe2(gates, O_CLOEXEC)) return close(ready[0]), close(ready[1]), -errno;
    pid_t first = clone_with_id(0);
    int error = first < 0 ? errno : 0;
    if (first == 0) {
        close(gates[1]);
        first_main(seed, ready[1], gates[0]);
    }
    close(ready[1]);
    close(gates[0]);
    if (!error && read(ready[0], &done, 1) != 1) error = ECHILD;
    close(ready[0]);
    if (error) return close(gates[1]), -error;
    *gate = gates[1];
    return first;
}

bool live_wait(pid_t tid)
{
    int status;
    return tracee_wait(tid, &status) && WIFSTOPPED(status);
}

int64_t live_call(pid_t tid, bool here, uint64_t number, const uint64_t arguments[6], bool *dead)
{
    return tracee_inject_at(tid, here ? 0 : GATE_PAGE, number, arguments, dead);
}

int64_t live_clone(pid_t tid, uint64_t arguments, uint64_t size, pid_t *born, bool *dead)
{
    const uint64_t words[6] = {arguments, size};
    return tracee_inject_clone(tid, GATE_PAGE, SYS_clone3, words, dead, born);
}

int live_run(pid_t tid)
{
    int status;
    do {
        if (ptrace(PTRACE_CONT, tid, 0, 0) == -1 || !tracee_wait(tid, &status)) return 0;
    } while (WIFSTOPPED(status) && status >> 16);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static bool is_zero(const uint8_t *page) { return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0; }

/* Runs of pages that are not zero. */
static bool write_runs(pid_t to, uint64_t address, const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t run = 0;
        while (at + run < size && !is_zero(data + at + run)) run += PAGE_BYTES;
        if (run && !tracee_write(to, address + at, data + at, run)) return false;
        at += run ? run : PAGE_BYTES;
    }
    return true;
}

bool live_copy(pid_t from, pid_t to, uint64_t start, uint64_t end)
{
    uint8_t *data = malloc(COPIED_AT_ONCE);
    bool copied = data && (start | end) % PAGE_BYTES == 0;
    while (copied && start < end) {
        size_t size = end - start < COPIED_AT_ONCE ? end - start : COPIED_AT_ONCE;
        /* Behind the end of a mapped file there is nothing to be read. */
        size_t got = tracee_read(from, start, data, size) / PAGE_BYTES * PAGE_BYTES;
        copied = write_runs(to, start, data, got);
        start += size;
    }
    free(data);
    return copied;
}

bool live_release(pid_t tid) { return ptrace(PTRACE_DETACH, tid, 0, 0) == 0; }
