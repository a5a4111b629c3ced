/* A signal comes amid computation without a tick, right before calls that do not wait for it: they are as they would be without. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RANDOM_BYTES = 70000 };

static volatile sig_atomic_t came;
static volatile unsigned long counted;
static int pipe_ends[2];
static timer_t timer;

static void note(int signal)
{
    (void)signal;
    came++;
    if (write(pipe_ends[1], "!", 1) != 1) abort();
}

static void send_another(int signal)
{
    (void)signal;
    kill(getpid(), SIGUSR2);
}

static void compute(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer)) abort();
    timer_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = 500 * 1000}, NULL);
    for (unsigned i = 0; i < 2000 * 1000; i++) counted++;
}

static void handle(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(signal, &action, NULL);
}

static void settle(const char *name, long result)
{
    int error = errno;
    timer_delete(timer);
    char byte;
    printf("%s: %ld %s, %d came\n", name, result, result < 0 ? strerror(error) : "", came);
    while (came--)
        if (read(pipe_ends[0], &byte, 1) != 1) abort();
    came = 0;
}

static void connect_to_itself(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server, (void *)&address, size) || listen(server, 1) || getsockname(server, (void *)&address, &size)) abort();
    compute();
    settle("connect", connect(client, (void *)&address, size));
    close(client), close(server);
}

static void write_to_terminal(void)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (grantpt(terminal) || unlockpt(terminal)) abort();
    int line = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    compute();
    settle("write to a terminal", write(line, "line\n", 5));
    close(line), close(terminal);
}

static void execute(void)
{
    fflush(stdout);
    if (fork() == 0) {
        compute();
        execl("/bin/echo", "echo", "executed", (char *)NULL);
        _exit(1);
    }
    int status;
    wait(&status);
    printf("executed: %d\n", status);
}

int main(void)
{
    static char random_bytes[RANDOM_BYTES];
    sigset_t one, others;
    siginfo_t info;
    sigemptyset(&one), sigaddset(&one, SIGUSR1);
    sigfillset(&others), sigdelset(&others, SIGUSR2);
    alarm(50);
    if (pipe(pipe_ends)) return 1;
    handle(SIGUSR1, note);
    struct pollfd end = {.fd = pipe_ends[0], .events = POLLIN};
    for (int i = 0; i < 3; i++) {
        compute();
        settle("poll without time", poll(NULL, 0, 0));
        compute();
        settle("ppoll that blocks it", ppoll(&end, 1, NULL, &one));
        compute();
        settle("getrandom", getrandom(random_bytes, sizeof random_bytes, 0));
        int device = open("/dev/urandom", O_RDONLY);
        compute();
        settle("read of /dev/urandom", read(device, random_bytes, sizeof random_bytes));
        close(device);
        compute();
        settle("nanosleep without time", nanosleep(&(struct timespec){0}, NULL));
        int descriptor = signalfd(-1, &one, SFD_NONBLOCK);
        compute();
        settle("read of a signalfd", read(descriptor, &info, sizeof info));
        close(descriptor);
        connect_to_itself();
        write_to_terminal();
        execute();
    }
    sigset_t second;
    sigemptyset(&second), sigaddset(&second, SIGUSR2);
    sigprocmask(SIG_BLOCK, &second, NULL);
    handle(SIGUSR1, send_another);
    handle(SIGUSR2, note);
    compute();
    settle("sigsuspend that blocks it", sigsuspend(&others));
    struct timespec end_time;
    clock_gettime(CLOCK_MONOTONIC, &end_time);
    printf("~ at %ld.%09ld\n", end_time.tv_sec, end_time.tv_nsec);
    return 0;
}
