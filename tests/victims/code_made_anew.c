/* Code that is written and runs between two calls, where other code has just run: a signal amid it finds it there, who goes back to
   that place does not yet. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile unsigned long long handled, rounds_left;

static void handler(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    handled++;
    rounds_left = (unsigned long long)((ucontext_t *)context)->uc_mcontext.gregs[REG_RCX];
}

int main(void)
{
    static const unsigned char few[] = {0xb8, 7, 0, 0, 0, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3}; /* mov $7, %eax; nops; ret */
    static const unsigned char many[] = {0xb9, 0, 0, 0, 0x10, 0xff, 0xc9, 0x75, 0xfc, 0x89, 0xc8, 0xc3}; /* mov $0x10000000, %ecx; until 0; mov %ecx, %eax; ret */
    unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned (*volatile run)(void) = (unsigned (*)(void))code;
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &action, NULL);
    for (unsigned long long i = 0; i < 3; i++) {
        const struct itimerval soon = {{0, 0}, {0, 20000}};
        unsigned sum = 0;
        setitimer(ITIMER_REAL, &soon, NULL);
        for (int k = 0; k < 100; k++) {
            memcpy(code, few, sizeof few);
            sum += run();
        }
        memcpy(code, many, sizeof many);
        while (handled == i) sum += run();
        printf("%llu: %u\n~ %llx left\n", handled, sum, rounds_left);
    }
    return 0;
}
