/* All signals blocked, SIGSYS too; SIGSYS handled, ignored, raised; what /proc says of it. */
#define _GNU_SOURCE
#include "raw.h"
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void show(const char *when)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    printf("%s:", when);
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "Sig", 3) || !strncmp(line, "ShdPnd", 6) || !strncmp(line, "NoNewPrivs", 10) ||
            !strncmp(line, "Seccomp:", 8)) {
            line[strcspn(line, "\n")] = 0;
            if (strncmp(line, "SigQ", 4))
                printf(" %s", line);
        }
    fclose(status);
    putchar('\n');
}

static void calls(int count)
{
    char memory[256];
    for (int i = 0; i < count; i++) {
        call0(SYS_getppid);
        call3(SYS_stat, (long)"/", (long)memory, 0);
    }
}

static uint64_t mask(void)
{
    uint64_t found = 0;
    call6(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&found, 8, 0, 0);
    return found;
}

static volatile int came, last_code;

static void handle(int number, siginfo_t *info, void *context)
{
    (void)context;
    came += number == SIGSYS;
    last_code = info->si_code;
    calls(10);
}

static void in_child(const char *name, void (*act)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        act();
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%s: %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void die(void)
{
    calls(100);
    raise(SIGSYS);
}

static void ignore(void)
{
    signal(SIGSYS, SIG_IGN);
    calls(100);
    raise(SIGSYS);
    kill(getpid(), SIGSYS);
    calls(100);
    show("ignored");
    fflush(stdout);
    execl("/bin/sh", "sh", "-c", "grep SigIgn /proc/self/status; kill -SYS $$; echo alive", NULL);
}

static void wait_for_it(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGSYS);
    sigprocmask(SIG_BLOCK, &one, NULL);
    calls(100);
    raise(SIGSYS);
    calls(100);
    siginfo_t info;
    int waited = sigtimedwait(&one, &info, &(struct timespec){1, 0});
    printf("waited for %d, code %d\n", waited, info.si_code);
    int fd = signalfd(-1, &one, 0);
    struct signalfd_siginfo read_info;
    raise(SIGSYS);
    calls(100);
    printf("read %ld", (long)read(fd, &read_info, sizeof read_info));
    printf(" of signal %u\n", read_info.ssi_signo);
}

/* Calls with wrong sizes and places: the kernel's own answers. */
static void odd_masks(void)
{
    uint64_t word = 0x1234;
    printf("sizes %ld %ld, how %ld, pointer %ld\n", call6(SYS_rt_sigprocmask, 0, (long)&word, 0, 4, 0, 0),
           call6(SYS_rt_sigprocmask, 0, (long)&word, 0, 16, 0, 0), call6(SYS_rt_sigprocmask, 7, (long)&word, 0, 8, 0, 0),
           call6(SYS_rt_sigprocmask, 0, 16, 0, 8, 0, 0));
    printf("both %ld %#lx\n", call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&word, (long)&word, 8, 0, 0), word);
    printf("now %#lx\n", mask());
    word = 0;
    call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&word, 0, 8, 0, 0);
    printf("SIGKILL's action: %ld\n", call6(SYS_rt_sigaction, SIGKILL, (long)&word, 0, 8, 0, 0));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    printf("~ %d\n", getpid());
    struct sigaction action;
    show("at first");
    sigaction(SIGSYS, NULL, &action);
    printf("action %s, flags %#x\n", action.sa_handler == SIG_DFL ? "default" : "other", action.sa_flags);

    uint64_t all = UINT64_MAX, old;
    call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&old, 8, 0, 0);
    printf("before %#lx\n", old);
    calls(2000);
    printf("blocked %#lx\n", mask());
    show("all blocked");
    /* Blocked calls from here on, with a timer that comes due: pending, not delivered. */
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000}}, NULL);
    sigset_t pending;
    do {
        calls(100);
        sigpending(&pending);
    } while (!sigismember(&pending, SIGALRM));
    printf("pending %d %d\n", sigismember(&pending, SIGALRM), sigismember(&pending, SIGSYS));
    raise(SIGSYS);
    calls(100);
    sigpending(&pending);
    printf("pending %d %d\n", sigismember(&pending, SIGALRM), sigismember(&pending, SIGSYS));
    signal(SIGALRM, SIG_IGN);
    sigaction(SIGSYS, &(struct sigaction){.sa_sigaction = handle, .sa_flags = SA_SIGINFO}, NULL);
    call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, 8, 0, 0);
    printf("came %d, code %d\n", came, last_code);
    show("handled");
    for (int i = 0; i < 20; i++) {
        raise(SIGSYS);
        calls(20);
        kill(getpid(), SIGSYS);
    }
    printf("came %d, code %d\n", came, last_code);
    sigaction(SIGSYS, NULL, &action);
    printf("action %s, flags %#x\n", action.sa_sigaction == handle ? "its own" : "other", action.sa_flags);
    in_child("handler inherited", die);
    signal(SIGSYS, SIG_DFL);
    in_child("default", die);
    in_child("ignored", ignore);
    in_child("waited for", wait_for_it);
    odd_masks();
    show("at last");
    return 0;
}
