/* Threads sleep in calls that another one lets the kernel finish right before it forks: the child's memory has what they
   have written, which nobody has returned from yet. */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TURNS = 30, LARGE = 20000 };

static int pipes[2], sockets[2], others[2], back[2];
static char small[64], large[LARGE], message[LARGE];
static struct pollfd polled;

static void answer(void)
{
    if (write(back[1], "", 1) != 1) abort();
}

static void *read_small(void *none)
{
    while (read(pipes[0], small, sizeof small) > 0) answer();
    return none;
}

static void *receive_large(void *none)
{
    struct iovec part = {large, sizeof large};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    while (recvmsg(sockets[0], &header, 0) > 0) answer();
    return none;
}

static void *wait_and_read(void *none)
{
    do {
        polled = (struct pollfd){.fd = others[0], .events = POLLIN};
        poll(&polled, 1, -1);
    } while (read(others[0], message, sizeof message) > 0 && (answer(), 1));
    return none;
}

static void send_all(int turn)
{
    char text[3000];
    memset(text, 'a' + turn % 26, sizeof text);
    if (write(pipes[1], text, 50) + write(sockets[1], text, sizeof text) + write(others[1], text, 2000) != 5050) abort();
}

int main(void)
{
    pthread_t threads[3];
    if (pipe(pipes) || pipe(back) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) || pipe(others)) return 1;
    pthread_create(&threads[0], NULL, read_small, NULL);
    pthread_create(&threads[1], NULL, receive_large, NULL);
    pthread_create(&threads[2], NULL, wait_and_read, NULL);
    int early = 0, good = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        usleep(3000);
        send_all(turn);
        pid_t child = fork();
        char wanted = (char)('a' + turn % 26);
        if (!child) _exit((small[49] == wanted) + 2 * (large[2999] == wanted) + 4 * (polled.revents == POLLIN));
        int status;
        waitpid(child, &status, 0);
        early = early * 8 % 1000003 + WEXITSTATUS(status);
        char answers[3];
        for (int got = 0; got < 3; got++)
            if (read(back[0], answers, 1) != 1) abort();
        good += small[49] == wanted && large[2999] == wanted && message[1999] == wanted;
    }
    close(pipes[1]), close(sockets[1]), close(others[1]);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("~ %d, seen early %d\n%d of %d\n", getpid(), early, good, TURNS);
    return 0;
}
