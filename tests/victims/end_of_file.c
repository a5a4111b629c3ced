/* Pages of mappings that lie behind the end of their file: SIGBUS, handled and deadly, before the file grows and after it has
   shrunk. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 3 };

static char *shared, *private;
static int file, ends[2];
static sigjmp_buf back;
static volatile uintptr_t where;
static volatile int number;

static void handle(int signal, siginfo_t *info, void *context)
{
    (void)context;
    number = signal;
    where = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static void touch(const char *when, char *base, size_t at, int writes)
{
    volatile char *place = base + at;
    volatile int steps = 0;
    number = 0;
    if (!sigsetjmp(back, 1)) {
        steps++;
        if (writes) *place = 'w';
        else steps += *place ? 2 : 1;
        steps += 10;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("~ %p %ld\n%s: signal %d, at %ld, %d steps\n", (void *)where, now.tv_nsec, when, number,
           number ? (long)(where - (uintptr_t)base) : -1, steps);
}

static void *touch_in_thread(void *place)
{
    *(volatile char *)place = 't';
    return NULL;
}

static void die(const char *how, int in_thread)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        signal(SIGBUS, SIG_DFL);
        pthread_t thread;
        if (in_thread && !pthread_create(&thread, NULL, touch_in_thread, shared + 2 * PAGE)) pthread_join(thread, NULL);
        private[0]++;
        shared[2 * PAGE] = 'd';
        private[0]++;
        _exit(3);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("%s: signal %d\n", how, WTERMSIG(status));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    file = memfd_create("victim", 0);
    if (file < 0 || ftruncate(file, 100) || pipe(ends)) return 1;
    shared = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    private = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (shared == MAP_FAILED || private == MAP_FAILED) return 1;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
    touch("in the last page", shared, 200, 1);
    for (int writes = 0; writes < 2; writes++) {
        touch("behind the end", shared, PAGE + 8, writes);
        touch("private", private, 2 * PAGE + 8, writes);
    }
    long written = write(ends[1], shared + PAGE, 10);
    printf("a call reads: %ld, %s\n", written, strerror(errno));
    if (ftruncate(file, 2 * PAGE)) return 1;
    touch("grown", shared, PAGE + 8, 1);
    touch("private, grown", private, PAGE + 8, 0);
    touch("behind the new end", shared, 2 * PAGE, 1);
    if (ftruncate(file, PAGE)) return 1;
    touch("shrunk", shared, PAGE + 8, 0);
    die("a process", 0);
    die("a thread", 1);
    if (ftruncate(file, PAGES * PAGE)) return 1;
    touch("grown again", shared, PAGE + 8, 0);
    return 0;
}
