/* fork, vfork, posix_spawn, clone and clone3 after thousands of cheap calls; parent and child make more, side by side. */
#define _GNU_SOURCE
#include "raw.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int file;

/* Uses nothing of libc, so that it may run in memory, and with the thread's storage, of another. */
static unsigned long work(int count)
{
    unsigned long sum = 0;
    unsigned char memory[256];
    for (int i = 0; i < count; i++) {
        call0(SYS_getppid);
        call6(SYS_pread64, file, (long)memory, 64, i % 1000, 0, 0);
        sum += memory[i % 64];
        sum += (unsigned long)call3(SYS_lseek, file, i % 100, SEEK_SET);
        sum += (unsigned long)call3(SYS_read, 999, (long)memory, 1);
    }
    return sum;
}

static void report(const char *name, unsigned long mine, pid_t child)
{
    int status = 0;
    pid_t found = waitpid(child, &status, __WALL);
    printf("%s: %lu, child %s %d\n", name, mine, found == child ? "ended" : "not found", WEXITSTATUS(status));
    fflush(stdout);
}

static void by_fork(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit((int)(work(2000) & 0x7f));
    report("fork", work(2000), child);
}

static void by_vfork(void)
{
    volatile unsigned long from_child = 0;
    for (volatile int i = 0; i < 3; i++) {
        pid_t child = vfork();
        if (child == 0) {
            from_child = work(500);
            _exit((int)(from_child & 0x7f));
        }
        report("vfork", from_child + work(200), child);
    }
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 6", NULL);
        _exit(99);
    }
    report("vfork and exec", work(200), child);
}

static void by_spawn(void)
{
    char *const words[] = {"sh", "-c", "exit 7", NULL};
    pid_t child;
    for (int i = 0; i < 3; i++) {
        if (posix_spawn(&child, "/bin/sh", NULL, NULL, words, environ))
            exit(3);
        report("posix_spawn", work(300), child);
    }
    printf("posix_spawn of nothing: %d\n", posix_spawn(&child, "/nothing", NULL, NULL, words, environ));
}

static void by_clone3(void)
{
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    for (int i = 0; i < 3; i++) {
        pid_t child = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
        if (child == 0)
            _exit((int)(work(1000) & 0x7f));
        report("clone3", work(1000), child);
    }
    printf("clone3 of a wrong size: %ld\n", call3(SYS_clone3, (long)&arguments, 5, 0));
}

static volatile unsigned long shared;

static int in_same_memory(void *unused)
{
    (void)unused;
    shared = work(2000);
    call3(SYS_exit, 21, 0, 0);
    return 0;
}

/* Two processes in one memory, with the same thread's storage. */
static void by_clone_of_memory(void)
{
    char *stack = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t child = clone(in_same_memory, stack + (1 << 16), CLONE_VM | SIGCHLD, NULL);
    unsigned long mine = work(2000);
    report("clone of memory", mine, child);
    printf("it found %lu\n", shared);
    munmap(stack, 1 << 16);
}

static void *in_thread(void *count) { return (void *)work((int)(long)count); }

static void by_threads(void)
{
    pthread_t threads[4];
    void *sums[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, in_thread, (void *)(500 * (i + 1)));
    pid_t child = fork(); /* while they are at it */
    if (child == 0) {
        unsigned long own = work(1000);
        pthread_t one;
        void *sum;
        pthread_create(&one, NULL, in_thread, (void *)1000);
        pthread_join(one, &sum);
        _exit(own == (unsigned long)sum ? 31 : 32);
    }
    report("fork among threads", 0, child);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], &sums[i]);
    printf("threads %lu %lu %lu %lu\n", (long)sums[0], (long)sums[1], (long)sums[2], (long)sums[3]);
    fflush(stdout);
}

static void generations(int left)
{
    pid_t child = fork();
    if (child == 0) {
        work(300);
        if (left)
            generations(left - 1);
        _exit(left);
    }
    report("generation", work(300), child);
}

int main(void)
{
    char path[4096], bytes[2000];
    snprintf(path, sizeof path, "%s/victim-XXXXXX", getenv("TMPDIR"));
    file = mkstemp(path);
    unlink(path);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    if (write(file, bytes, sizeof bytes) != sizeof bytes)
        return 2;
    printf("~ %d\nfirst %lu\n", getpid(), work(5000));
    fflush(stdout);
    by_fork();
    by_vfork();
    by_spawn();
    by_clone3();
    by_clone_of_memory();
    by_threads();
    generations(5);
    return 0;
}
