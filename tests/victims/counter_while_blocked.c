/* The time stamp counter is read while the signal of a fault is blocked or ignored; its handler is there afterwards. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

static sigjmp_buf back;
static volatile int faults;

static void handle(int number)
{
    (void)number;
    faults++;
    siglongjmp(back, 1);
}

static void fault(volatile char *nowhere)
{
    if (sigsetjmp(back, 1) == 0) *nowhere = 1;
}

/* Whether the counter goes up, and the way of the signal is as before. */
static int read_counter(int how, const sigset_t *set)
{
    struct sigaction before, after;
    sigset_t mask_before, mask_after;
    uint64_t first, second;
    sigprocmask(how, set, NULL);
    sigaction(SIGSEGV, NULL, &before);
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
    first = __rdtsc();
    second = __rdtsc();
    sigaction(SIGSEGV, NULL, &after);
    sigprocmask(SIG_BLOCK, NULL, &mask_after);
    printf("~ %llu %llu\n", (unsigned long long)first, (unsigned long long)second);
    return second > first && before.sa_handler == after.sa_handler && before.sa_flags == after.sa_flags &&
           sigismember(&mask_before, SIGSEGV) == sigismember(&mask_after, SIGSEGV);
}

int main(void)
{
    sigset_t segv;
    volatile char *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigemptyset(&segv);
    sigaddset(&segv, SIGSEGV);
    for (int i = 0; i < 3; i++) {
        signal(SIGSEGV, handle);
        printf("free: %d\n", read_counter(SIG_UNBLOCK, &segv));
        printf("blocked: %d\n", read_counter(SIG_BLOCK, &segv));
        sigprocmask(SIG_UNBLOCK, &segv, NULL);
        fault(nowhere);
        signal(SIGSEGV, SIG_IGN);
        printf("ignored: %d\n", read_counter(SIG_UNBLOCK, &segv));
        printf("ignored and blocked: %d\n", read_counter(SIG_BLOCK, &segv));
        sigprocmask(SIG_UNBLOCK, &segv, NULL);
        signal(SIGSEGV, handle);
        fault(nowhere);
    }
    printf("%d faults\n", faults);
    return 0;
}
