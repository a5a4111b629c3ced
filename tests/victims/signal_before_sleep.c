/* A signal comes amid computation without a tick, right before the program looks whether it has come and else sleeps until it does:
   its handler runs before the look, or the sleep ends with it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static volatile unsigned long counted;
static int pipe_ends[2];

static void note(int signal) { (void)signal, came = 1; }

static int sleep_in_pause(void) { return pause(); }
static int sleep_in_poll(void) { return poll(NULL, 0, 60000); }
static int sleep_in_select(void) { return select(0, NULL, NULL, NULL, &(struct timeval){.tv_sec = 60}); }
static int sleep_in_nanosleep(void) { return nanosleep(&(struct timespec){.tv_sec = 60}, NULL); }

static int sleep_in_read(void)
{
    char byte;
    return (int)read(pipe_ends[0], &byte, 1);
}

static void *do_nothing(void *ignored) { return ignored; }

int main(void)
{
    static const struct {
        const char *name;
        int (*sleep)(void);
    } ways[] = {{"pause", sleep_in_pause}, {"poll", sleep_in_poll}, {"select", sleep_in_select}, {"nanosleep", sleep_in_nanosleep}, {"read", sleep_in_read}};
    struct sigaction action = {.sa_handler = note};
    sigaction(SIGUSR1, &action, NULL);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    if (pipe(pipe_ends) || timer_create(CLOCK_MONOTONIC, &event, &timer)) return 1;
    alarm(50); /* ends it where a signal has been slept over */
    for (int alone = 1; alone >= 0; alone--) {
        pthread_t thread;
        if (!alone && pthread_create(&thread, NULL, do_nothing, NULL)) return 1;
        for (unsigned i = 0; i < 4 * sizeof ways / sizeof *ways; i++) {
            unsigned way = i % (sizeof ways / sizeof *ways);
            came = 0;
            timer_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = 500 * 1000}, NULL);
            for (unsigned j = 0; j < 2000 * 1000; j++) counted++;
            int result = -1;
            errno = EINTR;
            if (!came) result = ways[way].sleep();
            printf("%s %d %s %d\n", ways[way].name, result, strerror(errno), came);
        }
        if (!alone) pthread_join(thread, NULL);
    }
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("~ at %ld.%09ld\n", end.tv_sec, end.tv_nsec);
    return 0;
}
