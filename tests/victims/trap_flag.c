/* The program steps through itself: the trap flag is set while it makes system calls. And traps of two instructions. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Sets the flag, makes the call, removes the flag: answers the result. */
long stepped(long number, long a, long b, long c);
extern char stepped_end[];
__asm__(".text\n"
        "stepped: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n"
        "pushfq\n orq $0x100, (%rsp)\n popfq\n"
        "nop\n syscall\n nop\n"
        "pushfq\n andq $~0x100, (%rsp)\n popfq\n nop\n"
        "stepped_end: ret\n");

static volatile int steps, outside, codes;
static volatile unsigned places;

static void handle(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const char *place = (const char *)registers[REG_RIP];
    steps += number == SIGTRAP;
    codes += info->si_code == 2 /* TRAP_TRACE */;
    outside += place < (const char *)stepped || place > stepped_end;
    places = places * 31 + (unsigned)(place - (const char *)stepped);
    if (*place == (char)0xf1) registers[REG_RIP]++; /* virtual machines on AMD processors leave it at its int1 */
}

int main(void)
{
    static char memory[256];
    printf("~ %d\n", getpid());
    sigaction(SIGTRAP, &(struct sigaction){.sa_sigaction = handle, .sa_flags = SA_SIGINFO}, NULL);
    const long calls[][4] = {
        {SYS_getppid, 0, 0, 0}, {SYS_stat, (long)"/", (long)memory, 0}, {SYS_read, 999, (long)memory, 5}, {1000, 0, 0, 0},
    };
    for (int again = 0; again < 3; again++)
        for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
            steps = outside = codes = 0;
            places = 0;
            long result = stepped(calls[i][0], calls[i][1], calls[i][2], calls[i][3]);
            printf("%d steps, code of a step %d, outside %d, places %#x, result %s\n", steps, codes, outside, places,
                   result == getppid() ? "parent" : result == 0 ? "0" : result == -9 ? "-9" : "other");
        }
    steps = codes = 0;
    for (int again = 0; again < 3; again++) {
        __asm__ volatile(".byte 0xf1"); /* int1 */
        __asm__ volatile("int3\n nop"); /* what follows is not int1 */
    }
    printf("int1 and int3: %d traps, codes of a step %d\n", steps, codes);
    return 0;
}
