/* The program's own seccomp filter with SECCOMP_RET_TRAP: its handler of SIGSYS answers the calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

long trapped(long number, long a, long b, long c);
extern char behind_trapped[];
__asm__(".text\ntrapped: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n syscall\n"
        "behind_trapped: ret\n");

static volatile int came, wrong[6], wide_open;

static void handle(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct stat about;
    came++;
    wrong[0] += number != SIGSYS || info->si_code != 1 /* SYS_SECCOMP */;
    wrong[1] += info->si_arch != AUDIT_ARCH_X86_64 || info->si_errno != 7;
    wrong[2] += info->si_syscall != SYS_getppid && info->si_syscall != SYS_getpgid;
    if (!wide_open)
        wrong[3] += info->si_call_addr != behind_trapped || registers[REG_RIP] != (greg_t)behind_trapped;
    wrong[4] += registers[REG_RAX] != info->si_syscall;
    wrong[5] += stat("/", &about) != 0;
    registers[REG_RAX] = 4000 + registers[REG_RDI];
}

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)

int main(void)
{
    struct sock_filter filter[] = {
        LOAD(offsetof(struct seccomp_data, nr)),
        IS(SYS_getppid, 1, 0),
        IS(SYS_getpgid, 0, 1),
        ANSWER(SECCOMP_RET_TRAP | 7),
        IS(SYS_getsid, 0, 3),
        LOAD(offsetof(struct seccomp_data, args[0])),
        IS(12345, 0, 1),
        ANSWER(SECCOMP_RET_ERRNO | 99),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct stat about;
    printf("~ %d\n", getpid());
    for (int i = 0; i < 300; i++) /* these places are known before there is a filter */
        trapped(SYS_getpgid, 0, 0, 0), getppid(), stat("/", &about);
    sigaction(SIGSYS, &(struct sigaction){.sa_sigaction = handle, .sa_flags = SA_SIGINFO}, NULL);
    printf("%d", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    printf(" %d\n", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    int right = 0;
    for (int i = 0; i < 500; i++) {
        right += trapped(SYS_getppid, i, 0, 0) == 4000 + i;
        right += trapped(SYS_getpgid, i, 0, 0) == 4000 + i;
        right += trapped(SYS_getpid, i, 0, 0) == getpid();
        right += trapped(SYS_getsid, 12345, 0, 0) == -99;
        right += trapped(SYS_getsid, 0, 0, 0) > 0;
        right += stat("/", &about) == 0;
    }
    printf("%d right, %d trapped\n", right, came);
    wide_open = 1;
    for (int i = 0; i < 50; i++)
        getppid();
    printf("%d trapped\nwrong: code %d, reason %d, number %d, place %d, rax %d, call in handler %d\n", came, wrong[0],
           wrong[1], wrong[2], wrong[3], wrong[4], wrong[5]);
    return 0;
}
