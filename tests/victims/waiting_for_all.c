/* recv with MSG_WAITALL while another thread, which sends the rest late, makes calls. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 3, HALF = 50, CALLS = 100000 };

static int ends[2];

static void *send_late(void *part)
{
    send(ends[1], part, HALF, 0);
    for (int i = 0; i < CALLS; i++) getppid();
    send(ends[1], part, HALF, 0);
    return NULL;
}

int main(void)
{
    char part[HALF] = "part", whole[2 * HALF];
    int short_ones = 0;
    pthread_t thread;
    struct timespec now;
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    send(ends[1], part, 1, 0);
    recv(ends[0], whole, 1, 0);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_create(&thread, NULL, send_late, part);
        usleep(1000);
        short_ones += recv(ends[0], whole, sizeof whole, MSG_WAITALL) != sizeof whole;
        pthread_join(thread, NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("~ %ld\n%d came short\n", now.tv_nsec, short_ones);
}
