/* A static program with libc: files, clocks, memory, a thread, a child. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *calls(void *count)
{
    struct stat about;
    long good = 0;
    for (long i = 0; i < (long)count; i++)
        good += stat("/", &about) == 0 && S_ISDIR(about.st_mode) && getppid() > 0;
    return (void *)good;
}

static void file(void)
{
    FILE *stream = tmpfile();
    for (int i = 0; i < 20000; i++)
        fprintf(stream, "%d\n", i);
    rewind(stream);
    long sum = 0;
    int number;
    while (fscanf(stream, "%d", &number) == 1)
        sum += number;
    printf("sum %ld\n", sum);
    fclose(stream);
}

static void clocks(void)
{
    struct timespec before, now;
    int backwards = 0;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int i = 0; i < 2000; i++, before = now) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        backwards += now.tv_sec < before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec < before.tv_nsec);
    }
    printf("backwards %d\n~ %ld %ld\n", backwards, (long)now.tv_nsec, (long)time(NULL));
}

int main(void)
{
    file();
    clocks();
    printf("calls %ld\n", (long)calls((void *)3000));
    char *memory = malloc(1 << 20);
    memset(memory, 7, 1 << 20);
    memory = realloc(memory, 5 << 20);
    printf("memory %d %d\n", memory[0], memory[(1 << 20) - 1]);
    free(memory);
    pthread_t thread;
    void *good;
    pthread_create(&thread, NULL, calls, (void *)2000);
    calls((void *)2000);
    pthread_join(thread, &good);
    printf("thread %ld\n", (long)good);
    unsigned chance;
    if (getrandom(&chance, sizeof chance, 0) == sizeof chance)
        printf("~ %u %d\n", chance, getpid());
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        printf("child %ld\n", (long)calls((void *)1000));
        exit(4);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", WEXITSTATUS(status));
    return 0;
}
