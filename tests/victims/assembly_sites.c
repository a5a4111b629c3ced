/* System calls in hand-written assembly: what surrounds the instruction, the numbers it is made with. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Each gets the number in rdi, and returns what rax is behind the call. */
__asm__(".text\n"
        ".macro site name\n .p2align 4\n \\name: mov %rdi, %rax\n syscall\n .endm\n"
        "site then_ret\n ret\n"
        "next_to_it: mov $5, %eax\n ret\n"
        "site then_nops\n nop\n nop\n nop\n nop\n ret\n"
        "site then_push_pop\n push %rax\n pop %rdx\n push %rdx\n pop %rax\n ret\n"
        "site then_one_byte_each\n cld\n clc\n push %rbx\n pop %rbx\n stc\n ret\n"
        "site then_leave\n jmp 1f\n 1: ret\n"
        "site then_branch\n cmp $-4095, %rax\n jae 1f\n ret\n 1: neg %rax\n neg %rax\n ret\n"
        "site then_conditional\n jc 1f\n ret\n 1: xor %eax, %eax\n ret\n"
        "site then_call\n call 1f\n ret\n 1: ret\n"
        "site then_rip_relative\n lea here(%rip), %rdx\n add (%rdx), %rax\n sub here(%rip), %rax\n ret\n"
        "site then_indirect\n lea 1f(%rip), %rdx\n jmp *%rdx\n 1: ret\n"
        /* Behind the call a branch ends, from before it and from behind it. */
        ".p2align 4\n"
        "target_behind: push %rbx\n mov $-1, %rdx\n mov $20, %ebx\n jmp 1f\n"
        "0: mov %rdi, %rax\n syscall\n"
        "1: dec %ebx\n jns 0b\n pop %rbx\n ret\n"
        /* One byte further. */
        "target_further: push %rbx\n mov $-1, %rdx\n mov $20, %ebx\n jmp 1f\n"
        "0: mov %rdi, %rax\n syscall\n nop\n"
        "1: dec %ebx\n jns 0b\n pop %rbx\n ret\n"
        /* The call itself is the target, with its number set elsewhere. */
        "target_is_call: push %rbx\n mov $20, %ebx\n"
        "0: mov %rdi, %rax\n jmp 1f\n nop\n"
        "1: syscall\n dec %ebx\n jnz 0b\n pop %rbx\n ret\n"
        /* Two and three in a row: the result of one is the number of the next. */
        "row: mov $1000, %eax\n syscall\n syscall\n mov %rdi, %rax\n syscall\n mov %rdi, %rax\n syscall\n ret\n"
        /* An immediate that holds a call; it is jumped into. */
        "hidden: mov %rdi, %rax\n jmp 1f + 1\n 1: mov $0xc3050f, %eax\n ret\n"
        /* Needless prefixes belong to the instruction. */
        "prefixed: mov %rdi, %rax\n .byte 0x48, 0x0f, 0x05\n ret\n"
        "prefixed_more: mov %rdi, %rax\n .byte 0x66, 0x2e, 0x0f, 0x05\n ret\n"
        /* At the end of a function that never returns here; what follows are data which look like a call. */
        "here: .quad 0x50f050f050f050f, 0x050f909090909090\n"
        /* Across a page. */
        ".p2align 12\n .skip 4095 - 3, 0x90\n"
        "across: mov %rdi, %rax\n .byte 0x0f, 0x05\n ret\n"
        ".p2align 4\n");

typedef long site(long number);
extern site then_ret, next_to_it, then_nops, then_push_pop, then_one_byte_each, then_leave, then_branch,
    then_conditional, then_call, then_rip_relative, then_indirect, target_behind, target_further, target_is_call,
    row, hidden, prefixed, prefixed_more, across;
extern uint64_t here[2];

static const struct {
    const char *name;
    site *call;
} sites[] = {
#define S(name) {#name, name}
    S(then_ret), S(then_nops), S(then_push_pop), S(then_one_byte_each), S(then_leave), S(then_branch),
    S(then_conditional), S(then_call), S(then_rip_relative), S(then_indirect), S(target_behind), S(target_further),
    S(target_is_call), S(row), S(hidden), S(prefixed), S(prefixed_more), S(across),
};

static void numbers(void)
{
    static const uint64_t all[] = {
        SYS_getppid, 0xffffffff00000000 | SYS_getppid, 0x100000000 | SYS_getppid, (uint64_t)-1, 0xffffffff, 1000,
        0x40000000 | SYS_getppid, 0x80000000 | SYS_getppid, 0x7fffffff,
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (int again = 0; again < 3; again++) {
            long result = then_ret((long)all[i]);
            if (result > 0)
                printf("number %#lx: %s\n", all[i], result == getppid() ? "the parent" : "something else");
            else
                printf("number %#lx: %ld\n", all[i], result);
        }
}

/* `rep stosb` behind the call: the program counts on rdi and rax as the call leaves them. */
static void string_behind(void)
{
    char text[17] = "................";
    for (int i = 0; i < 10; i++) {
        long left;
        char *at = text;
        __asm__ volatile("mov %2, %%eax\n syscall\n mov $8, %%ecx\n mov $0x41, %%al\n rep stosb\n mov %%rcx, %1"
                         : "+D"(at), "=m"(left)
                         : "i"(SYS_getppid)
                         : "rax", "rcx", "r11", "memory");
        if (at != text + 8 || left)
            puts("rep stosb went wrong");
    }
    puts(text);
}

int main(void)
{
    uint64_t before[2];
    memcpy(before, here, sizeof before);
    long parent = getppid();
    printf("~ %ld %d\n", parent, getpid());
    for (unsigned i = 0; i < sizeof sites / sizeof *sites; i++) {
        int right = 0;
        for (int again = 0; again < 200; again++)
            right += sites[i].call(SYS_getppid) == parent;
        printf("%s: %d right, refused %ld\n", sites[i].name, right, sites[i].call(1000));
    }
    printf("next to it %ld\n", next_to_it(0));
    numbers();
    string_behind();
    printf("data %s\n", memcmp(before, here, sizeof before) ? "changed" : "as they were");
    return 0;
}
