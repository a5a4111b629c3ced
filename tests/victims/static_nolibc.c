/* A static program without libc: no loader, no thread-local storage, its own _start. */
#include "raw.h"
#include <asm/unistd.h>
#include <fcntl.h>
#include <stdint.h>

#define ROUNDS 5000

static unsigned length(const char *text)
{
    unsigned n = 0;
    while (text[n])
        n++;
    return n;
}

static void print(const char *text) { call3(__NR_write, 1, (long)text, length(text)); }

/* One line, one call. */
static void print_number(const char *name, unsigned long value)
{
    char text[80];
    unsigned at = sizeof text - 1;
    text[at] = 0;
    text[--at] = '\n';
    do
        text[--at] = (char)('0' + value % 10);
    while (value /= 10);
    for (unsigned left = length(name); left;)
        text[--at] = name[--left];
    print(text + at);
}

__attribute__((used)) static void start(long *stack)
{
    print_number("arguments ", (unsigned long)stack[0]);
    print_number("~ process ", (unsigned long)call0(__NR_getpid));
    unsigned long same = 0, bytes = 0, sum = 0;
    long parent = call0(__NR_getppid);
    for (int i = 0; i < ROUNDS; i++)
        same += call0(__NR_getppid) == parent;
    print_number("same parent ", same);
    long zero = call3(__NR_open, (long)"/dev/zero", O_RDONLY, 0);
    long null = call3(__NR_open, (long)"/dev/null", O_WRONLY, 0);
    for (int i = 0; i < ROUNDS; i++) {
        char buffer[64];
        for (unsigned j = 0; j < sizeof buffer; j++)
            buffer[j] = (char)j;
        bytes += (unsigned long)call3(__NR_read, zero, (long)buffer, 40);
        for (unsigned j = 0; j < sizeof buffer; j++)
            sum += (unsigned char)buffer[j];
        bytes += (unsigned long)call3(__NR_write, null, (long)buffer, sizeof buffer);
    }
    print_number("bytes ", bytes);
    print_number("sum ", sum);
    uint64_t chance[2];
    call3(__NR_getrandom, (long)chance, sizeof chance, 0);
    print_number("~ chance ", chance[0]);
    print_number("no such call ", (unsigned long)-call0(1000));
    long child = call0(__NR_fork);
    if (child == 0) {
        for (int i = 0; i < ROUNDS; i++)
            call0(__NR_getppid);
        print("child\n");
        call3(__NR_exit, 3, 0, 0);
    }
    int status = 0;
    call6(__NR_wait4, child, (long)&status, 0, 0, 0, 0);
    print_number("child's status ", (unsigned long)status);
    call3(__NR_exit_group, 9, 0, 0);
}

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n hlt\n");
