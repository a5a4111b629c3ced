/* The program's own seccomp filter judges calls by the place they come from. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

long allowed(long number), refused(long number);
extern char behind_refused[];
__asm__(".text\nallowed: mov %rdi, %rax\n syscall\n ret\n .p2align 6\n"
        "refused: mov %rdi, %rax\n syscall\n"
        "behind_refused: ret\n");

int main(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(uintptr_t)behind_refused, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    long parent = getppid(), before = 0, after = 0, right = 0;
    printf("~ %ld %d\n", parent, getpid());
    for (int i = 0; i < 300; i++)
        before += refused(SYS_getppid) == parent;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 2;
    for (int i = 0; i < 300; i++) {
        after += refused(SYS_getppid) == -77;
        right += allowed(SYS_getppid) == parent;
    }
    printf("before %ld, then refused %ld, elsewhere right %ld\n", before, after, right);
    return 0;
}
