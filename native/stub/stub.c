/* The empty process in which replay rebuilds a recorded one. Freestanding, one page of text, no data and no stack use
   after its start. It gives up every descriptor but its shared memory and, by seccomp, every authority; then it traps, and the replayer
   unmaps all but this page and goes on from there. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "gate.h"

__asm__(".section .text.gate,\"ax\"\n"
        ".globl gate\n"
        "gate: syscall\n"
        "int3\n"
        ".balign 4\n"
        "syscall\n"
        "ret\n"
        ".section .text.start,\"ax\"\n"
        ".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "and $-16, %rsp\n"
        "call stub_main\n"
        ".previous\n");

static inline long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return result;
}

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define SKIP_UNLESS(value, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, otherwise)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)

/* Memory management, tasks and their end. None of them reaches a file, a socket or another process. */
#define PERMIT(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), RETURN(SECCOMP_RET_ALLOW)

/* What the replayer itself asks for; and a signal at the end. Above all not CLONE_UNTRACED: nobody would stop such a task. */
#define CLONE_PERMITTED (0xff | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

void stub_main(void);
__attribute__((noreturn, section(".text.start"))) void stub_main(void)
{
    struct sock_filter filter[] = {
        LOAD(offsetof(struct seccomp_data, arch)),
        SKIP_UNLESS(AUDIT_ARCH_X86_64, 1),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(GATE_RETURN & 0xffffffff), 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(AGENT_GATE_RETURN & 0xffffffff), 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(offsetof(struct seccomp_data, instruction_pointer) + 4),
        SKIP_UNLESS((uint32_t)((uint64_t)GATE_RETURN >> 32), 1),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(offsetof(struct seccomp_data, nr)),
        PERMIT(SYS_mmap),
        PERMIT(SYS_munmap),
        PERMIT(SYS_mprotect),
        PERMIT(SYS_mremap),
        PERMIT(SYS_madvise),
        PERMIT(SYS_exit),
        PERMIT(SYS_exit_group),
        SKIP_UNLESS(SYS_clone, 7),
        LOAD(offsetof(struct seccomp_data, instruction_pointer)),
        SKIP_UNLESS((uint32_t)(GATE_RETURN & 0xffffffff), 5),
        LOAD(offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)~CLONE_PERMITTED, 3, 0),
        LOAD(offsetof(struct seccomp_data, args[0]) + 4),
        PERMIT(0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    long failed = call(SYS_close_range, 0, SHARED_DESCRIPTOR - 1, 0, 0, 0);
    failed |= call(SYS_close_range, SHARED_DESCRIPTOR + 1, ~0u, 0, 0, 0);
    failed |= call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    failed |= call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program, 0, 0);
    /* The replayer reads rax at this trap: anything but 0 and it refuses to go on. */
    __asm__ volatile("int3" : : "a"(failed));
    for (;;) __asm__ volatile("ud2");
}
