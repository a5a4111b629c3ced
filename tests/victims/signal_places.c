/* Signals that come in the midst of cheap system calls: what the handler sees of the interrupted code.
 *
 * The calls are made by a loop of known instructions, registers and stack; the handler runs on a stack of its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { WANTED = 150, KEPT = 6 };

/* Makes the same call again and again until *stop; rbx, rbp and r12 to r15 hold what is in `kept`. */
void loop(const volatile int *stop, const uint64_t kept[KEPT], long number, long a, long b, long c);
extern char loop_1[], loop_2[], loop_3[], loop_4[], loop_5[], loop_6[];
__asm__(".text\n"
        "loop: push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rdi\n"
        "mov 8(%rsi), %rbp\n mov 16(%rsi), %r12\n mov 24(%rsi), %r13\n mov 32(%rsi), %r14\n mov 40(%rsi), %r15\n"
        "mov (%rsi), %rbx\n"
        "mov %rdx, %r10\n mov %rcx, %rdi\n mov %r8, %rsi\n mov %r9, %rdx\n mov (%rsp), %r9\n mov %rsp, stack_of_loop(%rip)\n"
        "movl $1, in_loop(%rip)\n"
        "loop_1: mov %r10, %rax\n"
        "loop_2: syscall\n"
        "loop_3: mov (%r9), %ecx\n"
        "loop_4: test %ecx, %ecx\n"
        "loop_5: jz loop_1\n"
        "loop_6: movl $0, in_loop(%rip)\n"
        "pop %rdi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

uint64_t stack_of_loop;
volatile int in_loop;
static volatile int stop;
static volatile int came, at[7], elsewhere, wrong[8];
static const uint64_t kept[KEPT] = {
    0x1111111111111111, 0x2222222222222222, 0x3333333333333333,
    0x4444444444444444, 0x5555555555555555, 0x6666666666666666,
};
static char *alternate;
static size_t alternate_size;
static uint64_t expected_mask;

static void handle(int number, siginfo_t *info, void *context)
{
    const ucontext_t *frame = context;
    const greg_t *registers = frame->uc_mcontext.gregs;
    const char *place = (const char *)registers[REG_RIP];
    const char *const places[] = {loop_1, loop_2, loop_3, loop_4, loop_5, loop_6};
    char local;
    came++;
    wrong[0] += number != SIGALRM || info->si_code != SI_KERNEL;
    wrong[1] += &local < alternate || &local >= alternate + alternate_size;
    uint64_t mask;
    memcpy(&mask, &frame->uc_sigmask, sizeof mask);
    wrong[2] += mask != expected_mask;
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    memcpy(&mask, &now, sizeof mask);
    wrong[3] += mask != (expected_mask | 1u << (SIGALRM - 1));
    if (in_loop) {
        int found = 0;
        for (int i = 0; i < 6; i++)
            if (place == places[i])
                found = i + 1;
        at[found]++;
        wrong[4] += (uint64_t)registers[REG_RSP] != stack_of_loop;
        wrong[5] += registers[REG_RBX] != (greg_t)kept[0] || registers[REG_RBP] != (greg_t)kept[1] ||
                    memcmp(&kept[2], &registers[REG_R12], 4 * sizeof *kept) != 0;
        wrong[6] += registers[REG_R9] != (greg_t)&stop;
        /* Behind the call rcx is its place; before it, the flag that was looked at. */
        wrong[7] += found == 3 && (const char *)registers[REG_RCX] != loop_3;
    } else {
        elsewhere++;
    }
    stop = came % 10 == 0;
}

int main(void)
{
    alternate_size = 1 << 16;
    alternate = malloc(alternate_size);
    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = alternate_size}, NULL);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    sigaddset(&some, SIGHUP);
    sigprocmask(SIG_SETMASK, &some, NULL);
    memcpy(&expected_mask, &some, sizeof expected_mask);

    static char memory[20000];
    int zero = open("/dev/zero", O_RDWR);
    const long calls[][4] = {
        {110, 0, 0, 0},                  /* getppid */
        {0, zero, (long)memory, 64},     /* read */
        {0, zero, (long)memory, 16384},
        {4, (long)"/", (long)memory, 0}, /* stat */
        {1, zero, (long)memory, 100},    /* write */
        {0, 999, (long)memory, 100},
        {14, 0, 0, (long)memory},        /* rt_sigprocmask */
        {1000, 0, 0, 0},
    };
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 1000}, {0, 1000}}, NULL);
    for (int round = 0; came < WANTED; round++) {
        const long *call = calls[round % (int)(sizeof calls / sizeof *calls)];
        stop = 0;
        loop(&stop, kept, call[0], call[1], call[2], call[3]);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);

    printf("~ at %d %d %d %d %d %d, elsewhere %d\n", at[1], at[2], at[3], at[4], at[5], at[6], elsewhere);
    printf("in the loop, at no instruction of it: %d\n", at[0]);
    printf("wrong: signal %d, stack of the handler %d, its mask %d, mask in it %d\n", wrong[0], wrong[1], wrong[2],
           wrong[3]);
    printf("wrong: stack pointer %d, kept registers %d, r9 %d, rcx %d\n", wrong[4], wrong[5], wrong[6], wrong[7]);
    return 0;
}
