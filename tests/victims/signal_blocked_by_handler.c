/* Two signals come amid computation. The handler of the first blocks the second, which it finds pending and waits for. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t found, ran_within, ran;
static volatile unsigned long counted;
static int (*wait_for_it)(void);

static int wait_in_sigsuspend(void)
{
    sigset_t none;
    sigemptyset(&none);
    return sigsuspend(&none);
}

static int wait_unblocked(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int wait_for_return(void) { return 0; }

static void run_second(int signal) { (void)signal, ran++; }

static void run_first(int signal)
{
    (void)signal;
    sigset_t pending;
    int error = errno;
    sigpending(&pending);
    found = sigismember(&pending, SIGUSR2);
    wait_for_it();
    ran_within = ran;
    errno = error;
}

int main(void)
{
    static const struct {
        const char *name;
        int (*wait)(void);
    } ways[] = {{"sigsuspend", wait_in_sigsuspend}, {"sigprocmask", wait_unblocked}, {"return", wait_for_return}};
    struct sigaction first = {.sa_handler = run_first}, second = {.sa_handler = run_second};
    sigaddset(&first.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &first, NULL);
    sigaction(SIGUSR2, &second, NULL);
    timer_t timers[2];
    for (int i = 0; i < 2; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = i ? SIGUSR2 : SIGUSR1};
        if (timer_create(CLOCK_MONOTONIC, &event, &timers[i])) return 1;
    }
    alarm(50); /* ends it where a signal has been slept over */
    for (unsigned i = 0; i < 4 * sizeof ways / sizeof *ways; i++) {
        unsigned way = i % (sizeof ways / sizeof *ways);
        struct itimerspec at = {0};
        found = ran_within = ran = 0;
        wait_for_it = ways[way].wait;
        clock_gettime(CLOCK_MONOTONIC, &at.it_value);
        at.it_value.tv_nsec += 2 * 1000 * 1000;
        if (at.it_value.tv_nsec >= 1000 * 1000 * 1000) at.it_value.tv_sec++, at.it_value.tv_nsec -= 1000 * 1000 * 1000;
        for (int j = 0; j < 2; j++) timer_settime(timers[j], TIMER_ABSTIME, &at, NULL);
        for (unsigned j = 0; j < 4 * 1000 * 1000; j++) counted++;
        while (!ran) getppid();
        printf("%s: %d %d %d\n", ways[way].name, found, ran_within, ran);
    }
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("~ at %ld.%09ld\n", end.tv_sec, end.tv_nsec);
    return 0;
}
