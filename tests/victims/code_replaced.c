/* Code with system calls that is mapped, replaced, protected, unmapped, and mapped again with other code in its place. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, PLACE = 0x10000000 };
typedef long function(void);

/* mov $number,%eax; syscall; ret, at some offset; nops before it. The rest traps. */
static void write_code(unsigned char *code, unsigned number, int at)
{
    memset(code, 0xcc, PAGE);
    memset(code, 0x90, (size_t)at);
    const unsigned char bytes[] = {0xb8, (unsigned char)number, (unsigned char)(number >> 8), 0, 0, 0x0f, 0x05, 0xc3};
    memcpy(code + at, bytes, sizeof bytes);
}

/* Where a call stood there is now none: add $1, %eax in its place. */
static void write_other(unsigned char *code, int at)
{
    memset(code, 0xcc, PAGE);
    memset(code, 0x90, (size_t)at);
    const unsigned char bytes[] = {0xb8, 41, 0, 0, 0, 0xff, 0xc0, 0xc3};
    memcpy(code + at, bytes, sizeof bytes);
}

static int code_file(unsigned number, int at)
{
    char path[4096];
    unsigned char code[PAGE];
    snprintf(path, sizeof path, "%s/code_replaced", getenv("TMPDIR"));
    int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    unlink(path);
    if (number)
        write_code(code, number, at);
    else
        write_other(code, at);
    if (write(file, code, PAGE) != PAGE)
        abort();
    return file;
}

static function *map(int file, int protection, int flags)
{
    void *found = mmap((void *)PLACE, PAGE, protection, flags | MAP_FIXED, file, 0);
    if (found == MAP_FAILED)
        abort();
    return (function *)found;
}

static void run(const char *name, function *code)
{
    static long known;
    long same = 0, first = code();
    for (int i = 0; i < 200; i++)
        same += code() == first;
    known = getppid();
    printf("%s: %s, %ld the same\n", name,
           first == known            ? "parent"
           : first == (long)getpid() ? "own"
           : first == (long)getuid() ? "user"
           : first == 42             ? "no call"
                                     : "other",
           same);
}

static sigjmp_buf back;
static void on_fault(int number) { siglongjmp(back, number); }

static void expect_fault(const char *name, function *code)
{
    int number = sigsetjmp(back, 1);
    if (number == 0)
        code();
    printf("%s: signal %d\n", name, number);
}

int main(void)
{
    const int rx = PROT_READ | PROT_EXEC, rwx = rx | PROT_WRITE;
    printf("~ %d\n", getpid());
    signal(SIGSEGV, on_fault);
    int parent = code_file(SYS_getppid, 0), own = code_file(SYS_getpid, 0), further = code_file(SYS_getpid, 3),
        none = code_file(0, 0);
    run("mapped", map(parent, rx, MAP_PRIVATE));
    run("mapped over", map(own, rx, MAP_PRIVATE));
    run("shifted", map(further, rx, MAP_PRIVATE));
    run("no call", map(none, rx, MAP_PRIVATE));
    munmap((void *)PLACE, PAGE);
    expect_fault("unmapped", (function *)PLACE);
    run("mapped again", map(parent, rx, MAP_PRIVATE));
    run("shared", map(parent, rx, MAP_SHARED));
    mprotect((void *)PLACE, PAGE, PROT_NONE);
    expect_fault("protected", (function *)PLACE);
    mprotect((void *)PLACE, PAGE, rx);
    run("unprotected", (function *)PLACE);
    function *moved = mremap((void *)PLACE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(PLACE + 16 * PAGE));
    run("moved", moved);
    expect_fault("moved away", (function *)PLACE);
    run("a second copy", map(parent, rx, MAP_PRIVATE));
    run("the first", moved);

    /* The program writes over what it has run. */
    unsigned char *code = (unsigned char *)map(own, rwx, MAP_PRIVATE);
    run("private, writable", (function *)code);
    write_code(code, SYS_getuid, 0);
    run("written", (function *)code);
    write_other(code, 0);
    run("written, no call", (function *)code);
    write_code(code, SYS_getppid, 2);
    run("written, shifted", (function *)code);
    mprotect(code, PAGE, rx);
    run("then protected", (function *)code);
    madvise(code, PAGE, MADV_DONTNEED);
    run("back to its file", (function *)code);

    /* As compilers do at run time: one view to write, another to run. */
    int memory = memfd_create("code", 0);
    if (ftruncate(memory, PAGE))
        abort();
    unsigned char *view = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    function *other = map(memory, rx, MAP_SHARED);
    for (int i = 0; i < 5; i++) {
        write_code(view, i % 2 ? SYS_getpid : SYS_getppid, i);
        run("by another view", other);
    }
    write_other(view, 0);
    run("by another view, no call", other);

    /* Anonymous, at the very end of a page, before nothing. */
    unsigned char *pages = mmap(NULL, 2 * PAGE, rwx, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages + PAGE, PAGE);
    write_code(pages, SYS_getppid, PAGE - 8);
    run("end of a page", (function *)(pages + PAGE - 8));
    for (int i = 0; i < 20; i++) {
        write_code(pages, i % 2 ? SYS_getpid : SYS_getppid, i % 3);
        run("rewritten", (function *)pages);
    }
    return 0;
}
