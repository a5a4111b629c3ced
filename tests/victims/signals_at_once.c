/* Several signals that come at once to a call which sleeps. What follows the call keeps its result in memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 100, SIGNALS_AT_ONCE = 4, MILLISECOND = 1000000 };

long keep_result(long number, long a, long b, long c);
__asm__(".globl keep_result\n"
        ".type keep_result, @function\n"
        "keep_result:\n"
        "  .cfi_startproc\n"
        "  sub $24, %rsp\n"
        "  .cfi_adjust_cfa_offset 24\n"
        "  movq $77, 8(%rsp)\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %rdi\n"
        "  mov %rdx, %rsi\n"
        "  mov %rcx, %rdx\n"
        "  syscall\n"
        "  mov %rax, 8(%rsp)\n"
        "  xor %eax, %eax\n"
        "  mov 8(%rsp), %rax\n"
        "  add $24, %rsp\n"
        "  .cfi_adjust_cfa_offset -24\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size keep_result, . - keep_result\n");

static timer_t timers[SIGNALS_AT_ONCE];
static int pipe_ends[2];
static volatile int came[SIGNALS_AT_ONCE], wanted_byte;

static void handle(int number)
{
    int error = errno;
    came[number - SIGRTMIN]++;
    if (wanted_byte && number == SIGRTMIN + 1 && write(pipe_ends[1], "x", 1) != 1) _exit(3);
    errno = error;
}

static void *nothing(void *unused) { return unused; }

static void arm(void)
{
    /* Again and again: the first may come before the call. */
    struct itimerspec when = {{0, 5 * MILLISECOND}, {0, 0}};
    clock_gettime(CLOCK_MONOTONIC, &when.it_value);
    when.it_value.tv_nsec += MILLISECOND;
    if (when.it_value.tv_nsec >= 1000 * MILLISECOND) {
        when.it_value.tv_nsec -= 1000 * MILLISECOND;
        when.it_value.tv_sec++;
    }
    for (int i = 0; i < SIGNALS_AT_ONCE; i++) timer_settime(timers[i], TIMER_ABSTIME, &when, NULL);
}

int main(void)
{
    int interrupted = 0, libc = 0, semaphores = 0, bytes = 0;
    sem_t semaphore;
    char byte;
    if (pipe(pipe_ends) || sem_init(&semaphore, 0, 0)) return 2;
    for (int i = 0; i < SIGNALS_AT_ONCE; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + i};
        struct sigaction action = {.sa_handler = handle, .sa_flags = i % 2 ? SA_RESTART : 0};
        if (sigaction(SIGRTMIN + i, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timers[i])) return 2;
    }
    /* Each place once without a signal, libc's that of a program that has had threads. */
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL)) return 2;
    keep_result(SYS_getppid, 0, 0, 0);
    nanosleep(&(struct timespec){0, 1}, NULL);
    sem_timedwait(&semaphore, &(struct timespec){1, 0});
    for (int i = 0; i < ROUNDS; i++) {
        struct timespec long_time = {60, 0}, rest = {0};
        arm();
        interrupted += keep_result(SYS_nanosleep, (long)&long_time, (long)&rest, 0) == -EINTR;
        arm();
        libc += nanosleep(&long_time, &rest) == -1 && errno == EINTR;
        clock_gettime(CLOCK_REALTIME, &long_time);
        long_time.tv_sec += 60;
        arm();
        semaphores += sem_timedwait(&semaphore, &long_time) == -1 && errno == EINTR;
        printf("~ %ld\n", rest.tv_nsec);
    }
    /* All are to start the call again, until there is a byte. */
    wanted_byte = 1;
    for (int i = 0; i < SIGNALS_AT_ONCE; i++)
        sigaction(SIGRTMIN + i, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_RESTART}, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        arm();
        bytes += keep_result(SYS_read, pipe_ends[0], (long)&byte, 1) == 1;
    }
    printf("%d of %d sleeps interrupted, %d of libc's, %d semaphores, %d bytes\n", interrupted, ROUNDS, libc, semaphores, bytes);
    for (int i = 0; i < SIGNALS_AT_ONCE; i++) printf("~ %d\n", came[i]);
    return 0;
}
