/* Blocking calls that a signal interrupts, in a program of one thread, with and without SA_RESTART. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ends[2], pair[2], listener, epoll;
static pid_t child;
static volatile int came;
static int restarting;

/* From the third signal on what was waited for is there, if calls go on. */
static void handle(int number)
{
    int saved = errno;
    came += number == SIGALRM;
    if (restarting && came == 3) {
        if (write(ends[1], "pipe", 4) != 4 || write(pair[1], "socket", 6) != 6)
            abort();
        kill(child, SIGKILL);
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0"};
        socklen_t size = sizeof address;
        getsockname(listener, (struct sockaddr *)&address, &size);
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(client, (struct sockaddr *)&address, size);
        close(client);
    }
    errno = saved;
}

static struct timespec left;

static long do_read(void) { char b[8]; return read(ends[0], b, sizeof b); }
static long do_recv(void) { char b[8]; return recv(pair[0], b, sizeof b, 0); }
static long do_recvfrom_later(void)
{
    char b[8];
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){20, 0}, sizeof(struct timeval));
    return recv(pair[0], b, sizeof b, 0);
}
static long do_accept(void) { int fd = accept(listener, NULL, NULL); return fd < 0 ? -1 : close(fd); }
static long do_wait(void) { int status; return waitpid(child, &status, 0) == child ? status : -1; }
static long do_poll(void) { struct pollfd p = {ends[0], POLLIN, 0}; return poll(&p, 1, -1); }
static long do_poll_timed(void) { struct pollfd p = {ends[0], POLLIN, 0}; return poll(&p, 1, 20000); }
static long do_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    struct timeval time = {20, 0};
    long result = select(ends[0] + 1, &set, NULL, NULL, &time);
    left = (struct timespec){time.tv_sec, time.tv_usec * 1000};
    return result;
}
static long do_epoll(void) { struct epoll_event e; return epoll_wait(epoll, &e, 1, -1); }
static long do_nanosleep(void) { return nanosleep(&(struct timespec){20, 0}, &left); }
static long do_clock_nanosleep(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 20;
    errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    return errno ? -1 : 0;
}
static long do_pause(void) { return pause(); }
static long do_sigsuspend(void) { sigset_t none; sigemptyset(&none); return sigsuspend(&none); }
static long do_futex(void) { int word = 1; return syscall(SYS_futex, &word, FUTEX_WAIT, 1, NULL, NULL, 0); }
static long do_futex_timed(void)
{
    int word = 1;
    return syscall(SYS_futex, &word, FUTEX_WAIT, 1, &(struct timespec){20, 0}, NULL, 0);
}
static long do_flood(void)
{
    static char much[1 << 20];
    return write(ends[1], much, sizeof much) > 0 ? 1 : -1;
}

static void drain(void)
{
    char bytes[4096];
    struct pollfd both[2] = {{ends[0], POLLIN, 0}, {pair[0], POLLIN, 0}};
    while (poll(both, 2, 0) > 0)
        for (int i = 0; i < 2; i++)
            if (both[i].revents && read(both[i].fd, bytes, sizeof bytes) < 0)
                abort();
    struct pollfd waiting = {listener, POLLIN, 0};
    while (poll(&waiting, 1, 0) > 0)
        close(accept(listener, NULL, NULL));
}

static void probe(const char *name, long (*call)(void))
{
    child = fork();
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        pause();
        _exit(0);
    }
    came = 0;
    left.tv_sec = -1;
    struct sigaction action = {.sa_handler = handle, .sa_flags = restarting ? SA_RESTART : 0};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 15000}, {0, 15000}}, NULL);
    errno = 0;
    long result = call();
    int error = errno;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("%s%s: %ld %s", restarting ? "restarting " : "", name, result, result < 0 ? strerrorname_np(error) : "");
    printf(", signals %s", came ? "some" : "none");
    if (left.tv_sec >= 0)
        printf(", left %s", left.tv_sec < 20 && left.tv_sec >= 5 ? "some" : "wrong");
    printf("\n~ %ld\n", left.tv_nsec);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    drain();
}

static void on_child(int number) { came += number == SIGCHLD; }

/* SIGCHLD, ignored and handled, while a read of a pipe waits. */
static void ends_of_children(void)
{
    for (int handled = 0; handled < 2; handled++) {
        came = 0;
        sigaction(SIGCHLD, &(struct sigaction){.sa_handler = handled ? on_child : SIG_DFL}, NULL);
        pid_t first = fork();
        if (first == 0) {
            usleep(100000);
            _exit(1);
        }
        pid_t second = fork();
        if (second == 0) {
            usleep(250000);
            if (write(ends[1], "late", 4) != 4)
                _exit(3);
            _exit(2);
        }
        errno = 0;
        long result = do_read();
        printf("read, a child ends: %ld %s, signals %s\n", result, result < 0 ? strerrorname_np(errno) : "", came ? "some" : "none");
        int status;
        for (int i = 0; i < 2;) {
            pid_t ended = waitpid(-1, &status, 0);
            if (ended < 0 && errno != EINTR)
                break;
            i += ended > 0;
        }
        drain();
    }
    signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    epoll = epoll_create1(0);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) ||
        listen(listener, 5))
        return 2;
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){.events = EPOLLIN});
    static const struct {
        const char *name;
        long (*call)(void);
        int restarts; /* with SA_RESTART it would wait for ever */
    } calls[] = {
        {"read", do_read, 0}, {"recv", do_recv, 0}, {"accept", do_accept, 0}, {"waitpid", do_wait, 0},
        {"poll", do_poll, 0}, {"poll, timed", do_poll_timed, 0}, {"select", do_select, 0}, {"epoll_wait", do_epoll, 0},
        {"nanosleep", do_nanosleep, 0}, {"clock_nanosleep", do_clock_nanosleep, 0}, {"pause", do_pause, 0},
        {"sigsuspend", do_sigsuspend, 0}, {"futex", do_futex, 1}, {"futex, timed", do_futex_timed, 1},
        {"write", do_flood, 1}, {"recv, timed", do_recvfrom_later, 0},
    };
    for (restarting = 0; restarting < 2; restarting++) {
        setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 0}, sizeof(struct timeval));
        for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
            fflush(stdout);
            if (!restarting || !calls[i].restarts)
                probe(calls[i].name, calls[i].call);
        }
    }
    fflush(stdout);
    ends_of_children();
    return 0;
}
