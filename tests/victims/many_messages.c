/* sendmmsg and recvmmsg, descriptors in messages, control data cut off, datagrams cut off. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGES = 64, ROUNDS = 30 };

static struct mmsghdr headers[MESSAGES];
static struct iovec parts[MESSAGES][3];
static char memory[MESSAGES][3][64];

static void prepare(char fill, size_t part)
{
    memset(headers, 0, sizeof headers);
    for (int i = 0; i < MESSAGES; i++) {
        for (int j = 0; j < 3; j++) {
            parts[i][j] = (struct iovec){memory[i][j], part};
            memset(memory[i][j], fill ? fill : 'a' + (i + j) % 26, sizeof memory[i][j]);
        }
        headers[i].msg_hdr.msg_iov = parts[i];
        headers[i].msg_hdr.msg_iovlen = (size_t)(1 + i % 3);
    }
}

static unsigned sum(void)
{
    unsigned found = 0;
    for (int i = 0; i < MESSAGES; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 64; k++)
                found = found * 31 + (unsigned char)memory[i][j][k];
    return found;
}

static void many(int left, int right)
{
    long sent = 0, received = 0, bytes = 0, flags = 0;
    unsigned found = 0;
    for (int round = 0; round < ROUNDS; round++) {
        prepare(0, 20);
        int count = sendmmsg(left, headers, 10, MSG_DONTWAIT);
        sent += count;
        prepare('.', round % 2 ? 64 : 7); /* too small for some */
        struct timespec time = {1, 0};
        int got = recvmmsg(right, headers, MESSAGES, MSG_DONTWAIT, round % 3 ? NULL : &time);
        received += got;
        for (int i = 0; i < got; i++) {
            bytes += headers[i].msg_len;
            flags += headers[i].msg_hdr.msg_flags;
        }
        found = found * 31 + sum();
    }
    printf("sent %ld, received %ld, bytes %ld, flags %ld, memory %08x\n", sent, received, bytes, flags, found);
    printf("nothing there: %d", recvmmsg(right, headers, MESSAGES, MSG_DONTWAIT, NULL));
    printf(" %s\n", strerrorname_np(errno));
}

static void pass(int left, int right)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * 5)];
    } control;
    char text[32];
    struct iovec part = {text, sizeof text};
    for (int round = 0; round < 100; round++) {
        int descriptors[5], own[2], count = 1 + round % 5, cut = round % 7 == 6;
        if (pipe(own))
            abort();
        for (int i = 0; i < count; i++)
            descriptors[i] = own[1];
        memset(&control, 0, sizeof control);
        memset(text, 0, sizeof text);
        snprintf(text, sizeof text, "message %d", round);
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (unsigned)count);
        control.header = (struct cmsghdr){CMSG_LEN(sizeof(int) * (unsigned)count), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), descriptors, sizeof(int) * (unsigned)count);
        if (sendmsg(left, &message, 0) < 0)
            abort();
        memset(text, 0, sizeof text);
        memset(&control, 0, sizeof control);
        message.msg_controllen = cut ? CMSG_SPACE(sizeof(int)) : sizeof control;
        long size = recvmsg(right, &message, MSG_CMSG_CLOEXEC);
        int got = message.msg_controllen ? (int)((control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
        memcpy(descriptors, CMSG_DATA(&control.header), sizeof(int) * (unsigned)got);
        if (round % 10 == 6 || round < 3)
            printf("%ld %s, %d descriptors, flags %#x\n", size, text, got, (unsigned)message.msg_flags);
        char back[8] = "";
        for (int i = 0; i < got; i++)
            if (write(descriptors[i], "x", 1) != 1 || close(descriptors[i]))
                abort();
        if (got && read(own[0], back, sizeof back) != got)
            abort();
        close(own[0]);
        close(own[1]);
    }
}

/* The sender's credentials, its address, a peeked message, a message of no bytes. */
static void sundries(int left, int right)
{
    int yes = 1;
    setsockopt(right, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
    char control[256], text[16];
    struct sockaddr_un from;
    struct iovec part = {text, sizeof text};
    for (int i = 0; i < 4; i++) {
        struct msghdr message = {&from, sizeof from, &part, 1, control, sizeof control, 0};
        if (i % 2 == 0 && send(left, "credentials", i ? 0 : 11, 0) < 0)
            abort();
        long size = recvmsg(right, &message, i % 2 ? 0 : MSG_PEEK);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        struct ucred *who = header ? (struct ucred *)CMSG_DATA(header) : NULL;
        printf("%ld, type %d, own %d, name of %u\n", size, header ? header->cmsg_type : -1, who && who->pid == getpid(),
               message.msg_namelen);
    }
}

int main(void)
{
    int pair[2], stream[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) || socketpair(AF_UNIX, SOCK_STREAM, 0, stream))
        return 2;
    printf("~ %d\n", getpid());
    many(pair[0], pair[1]);
    pass(pair[0], pair[1]);
    pass(stream[0], stream[1]);
    sundries(pair[0], pair[1]);
    return 0;
}
