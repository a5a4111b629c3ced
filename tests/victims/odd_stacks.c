/* System calls while the stack pointer is small, misaligned, null or nonsense: the kernel does not look at it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Makes a call with another stack pointer; nothing is on that stack. Stores the pointer that the call left. */
long with_stack(uint64_t pointer, uint64_t *left, long number, long a, long b, long c);
__asm__(".text\n"
        "with_stack: push %rbx\n push %rbp\n mov %rsp, %rbx\n mov %rsi, %rbp\n"
        "mov %rdi, %rsp\n mov %rdx, %rax\n mov %rcx, %rdi\n mov %r8, %rsi\n mov %r9, %rdx\n"
        "syscall\n"
        "mov %rsp, (%rbp)\n mov %rbx, %rsp\n pop %rbp\n pop %rbx\n ret\n");

static int zero;

static void probe(const char *name, uint64_t pointer)
{
    static char memory[4096];
    long parent = getppid();
    int right = 0, moved = 0;
    for (int again = 0; again < 300; again++) {
        uint64_t left[4];
        memset(memory, 'x', sizeof memory);
        right += with_stack(pointer, &left[0], SYS_getppid, 0, 0, 0) == parent;
        right += with_stack(pointer, &left[1], SYS_read, zero, (long)memory, 100) == 100 && memory[99] == 0;
        right += memory[100] == 'x';
        right += with_stack(pointer, &left[2], SYS_stat, (long)"/", (long)memory, 0) == 0;
        right += with_stack(pointer, &left[3], SYS_read, zero, 16, 100) == -14;
        for (int i = 0; i < 4; i++)
            moved += left[i] != pointer;
    }
    printf("%s: %d right, %d moved\n", name, right, moved);
}

int main(void)
{
    zero = open("/dev/zero", O_RDONLY);
    char *pages = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
    memset(pages + 4096, 'y', 4096);
    printf("~ %p\n", (void *)pages);
    probe("end of a page", (uint64_t)(pages + 2 * 4096));
    probe("start of a page", (uint64_t)(pages + 4096));
    probe("in it", (uint64_t)(pages + 4096 + 200));
    probe("8 mod 16", (uint64_t)(pages + 4096 + 2008));
    probe("3 mod 8", (uint64_t)(pages + 4096 + 2003));
    probe("below it", (uint64_t)(pages + 2000));
    probe("null", 0);
    probe("eight", 8);
    probe("no address", 0x8000000000000000);
    probe("kernel", 0xffffffff81000000);
    probe("last", UINT64_MAX);
    probe("read-only", (uint64_t)"text");
    int changed = 0;
    for (int i = 0; i < 4096; i++)
        changed += pages[4096 + i] != 'y';
    printf("changed %d\n", changed);
    return 0;
}
