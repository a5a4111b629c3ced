/* EFAULT: calls with pointers that lead nowhere, to read-only memory, and to memory that ends half way. */
#define _GNU_SOURCE
#include "raw.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, HALF = 10, SIZE = 100 };

static char *page;          /* one page; behind it there is nothing */
static const char *reading; /* one page that may only be read */
static int file, pipes[2], sockets[2], directory, epoll;

static unsigned sum(void)
{
    unsigned found = 0;
    for (int i = 0; i < PAGE; i++)
        found = found * 31 + (unsigned char)page[i];
    return found;
}

/* Fills what calls wait for, so that none does. */
static void refill(void)
{
    char bytes[4096];
    memset(page, 'p', PAGE);
    lseek(file, 0, SEEK_SET);
    lseek(directory, 0, SEEK_SET);
    long done = 0;
    while (read(pipes[0], bytes, sizeof bytes) > 0 || read(sockets[0], bytes, sizeof bytes) >= 0 ||
           read(sockets[1], bytes, sizeof bytes) >= 0)
        ;
    for (int j = 0; j < 200; j++)
        bytes[j] = (char)(j + 'A');
    done += write(pipes[1], bytes, 200) + write(sockets[1], bytes, 200);
    if (done != 400)
        abort();
}

static void show(const char *name, const char *pointer, long result, int certain)
{
    if (result >= 0)
        printf("%s, %s: %ld", name, pointer, result);
    else
        printf("%s, %s: %s", name, pointer, strerrorname_np((int)-result));
    if (certain)
        printf(", memory %08x", sum());
    putchar('\n');
}

static void probe(const char *name, char *p)
{
    long a = (long)p;
#define P(...) (refill(), call6(__VA_ARGS__))
#define SHOW(call, certain, ...) \
    for (int again = 0; again < 2; again++) \
    show(call, name, P(__VA_ARGS__), certain)
    struct iovec parts[4] = {{page, 20}, {page + 50, 0}, {p, SIZE}, {page + 100, 20}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 4};
#ifdef HALF_WAY
    SHOW("read of a pipe", 1, SYS_read, pipes[0], a, SIZE, 0, 0, 0);
    SHOW("recvfrom", 1, SYS_recvfrom, sockets[0], a, SIZE, 0, 0, 0);
    SHOW("recvfrom, its address", 1, SYS_recvfrom, sockets[0], (long)page, 10, 0, a, a);
    SHOW("uname", 1, SYS_uname, a, 0, 0, 0, 0, 0);
    SHOW("readv of a pipe", 1, SYS_readv, pipes[0], (long)parts, 4, 0, 0, 0);
    SHOW("recvmsg", 1, SYS_recvmsg, sockets[0], (long)&message, 0, 0, 0, 0);
#else
    SHOW("read", 1, SYS_read, file, a, SIZE, 0, 0, 0);
    SHOW("read of nothing", 1, SYS_read, file, a, 0, 0, 0, 0);
    SHOW("pread64", 1, SYS_pread64, file, a, SIZE, 5, 0, 0);
    SHOW("read, much", 1, SYS_read, file, a, 3 * PAGE, 0, 0, 0);
    SHOW("write", 1, SYS_write, pipes[1], a, SIZE, 0, 0, 0);
    SHOW("write to a file", 1, SYS_pwrite64, file, a, SIZE, 4 * PAGE, 0, 0);
    SHOW("sendto", 1, SYS_sendto, sockets[0], a, SIZE, 0, 0, 0);
    SHOW("stat", 0, SYS_stat, (long)"/", a, 0, 0, 0, 0);
    SHOW("stat of", 1, SYS_stat, a, (long)page, 0, 0, 0, 0);
    SHOW("fstat", 0, SYS_fstat, pipes[0], a, 0, 0, 0, 0);
    SHOW("newfstatat", 0, SYS_newfstatat, AT_FDCWD, (long)"/", a, 0, 0, 0);
    SHOW("open", 1, SYS_open, a, O_RDONLY, 0, 0, 0, 0);
    SHOW("access", 1, SYS_access, a, 0, 0, 0, 0, 0);
    SHOW("readlink", 0, SYS_readlink, (long)"/proc/self/exe", a, SIZE, 0, 0, 0);
    SHOW("getcwd", 0, SYS_getcwd, a, PAGE, 0, 0, 0, 0);
    SHOW("getdents64", 0, SYS_getdents64, directory, a, 3 * PAGE, 0, 0, 0);
    SHOW("uname", 0, SYS_uname, a, 0, 0, 0, 0, 0);
    SHOW("getrandom", 0, SYS_getrandom, a, SIZE, 0, 0, 0, 0);
    SHOW("clock_gettime", 0, SYS_clock_gettime, 1, a, 0, 0, 0, 0);
    SHOW("gettimeofday", 0, SYS_gettimeofday, a, a, 0, 0, 0, 0);
    SHOW("poll", 1, SYS_poll, a, 3, 0, 0, 0, 0);
    SHOW("select", 1, SYS_select, 64, a, 0, 0, (long)&(struct timeval){0, 0}, 0);
    SHOW("select, its time", 0, SYS_select, 64, 0, (long)&(unsigned long[16]){1ul << pipes[1]}, 0, a, 0);
    SHOW("epoll_wait", 0, SYS_epoll_wait, epoll, a, 4, 0, 0, 0);
    SHOW("epoll_ctl", 1, SYS_epoll_ctl, epoll, EPOLL_CTL_MOD, pipes[0], a, 0, 0);
    SHOW("nanosleep", 1, SYS_nanosleep, a, 0, 0, 0, 0, 0);
    SHOW("readv", 1, SYS_readv, file, a, 2, 0, 0, 0);
    SHOW("pipe2", 0, SYS_pipe2, a & ~3, 0x7fffffff, 0, 0, 0, 0);
    SHOW("getsockname", 0, SYS_getsockname, sockets[0], a, a, 0, 0, 0);
    SHOW("getsockopt", 1, SYS_getsockopt, sockets[0], SOL_SOCKET, SO_TYPE, a, (long)&(socklen_t){4}, 0);
    SHOW("ioctl FIONREAD", 1, SYS_ioctl, pipes[0], 0x541b, a, 0, 0, 0);
    SHOW("rt_sigprocmask", 1, SYS_rt_sigprocmask, 0, a, 0, 8, 0, 0);
    SHOW("rt_sigprocmask, old", 1, SYS_rt_sigprocmask, 0, 0, a, 8, 0, 0);
    SHOW("rt_sigaction", 0, SYS_rt_sigaction, 10, 0, a, 8, 0, 0);
    SHOW("futex", 1, SYS_futex, a & ~3, 1, 1, 0, 0, 0);
    SHOW("prlimit64", 0, SYS_prlimit64, 0, 3, 0, a, 0, 0);
    SHOW("sched_getaffinity", 0, SYS_sched_getaffinity, 0, 8, 0, 0, 0, 0);
    SHOW("sysinfo", 0, SYS_sysinfo, a, 0, 0, 0, 0, 0);
    SHOW("statfs", 0, SYS_statfs, (long)"/proc", a, 0, 0, 0, 0);
    SHOW("readv, third part", 1, SYS_readv, file, (long)parts, 4, 0, 0, 0);
    SHOW("preadv", 1, SYS_preadv, file, (long)parts, 4, 7, 0, 0);
    SHOW("writev, third part", 1, SYS_writev, pipes[1], (long)parts, 4, 0, 0, 0);
    SHOW("recvmsg of", 1, SYS_recvmsg, sockets[0], a, 0, 0, 0, 0);
    SHOW("sendmsg", 1, SYS_sendmsg, sockets[0], (long)&message, 0, 0, 0, 0);
#endif
}

int main(void)
{
    char path[4096], bytes[4 * PAGE];
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    snprintf(path, sizeof path, "%s/bad_pointers", getenv("TMPDIR"));
    file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    unlink(path);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 11 + i / 256);
    directory = open("/", O_RDONLY | O_DIRECTORY);
    epoll = epoll_create1(0);
    if (write(file, bytes, sizeof bytes) != sizeof bytes || pipe2(pipes, O_NONBLOCK) ||
        socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sockets))
        return 2;
    epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &(struct epoll_event){.events = EPOLLIN});
    char *pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page = pages + PAGE;
    memset(pages, 'p', 4 * PAGE);
    munmap(pages + 2 * PAGE, PAGE);
    mprotect(pages, PAGE, PROT_NONE);
    mprotect(pages + 3 * PAGE, PAGE, PROT_READ);
    reading = pages + 3 * PAGE;
    printf("~ %p\n", (void *)pages);
    probe("null", NULL);
    probe("low", (char *)16);
    probe("no address", (char *)0x8000000000000000);
    probe("kernel", (char *)0xffffffff81000000);
    probe("end of user space", (char *)0x7ffffffff000 - 4);
    probe("unmapped", page + PAGE);
    probe("untouchable", pages + 8);
    probe("read-only", (char *)reading);
    probe("half way", page + PAGE - HALF);
    probe("from below", page - HALF);
    return 0;
}
