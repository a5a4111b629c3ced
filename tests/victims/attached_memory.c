/* System V shared memory: attached twice, by a child of its own accord, read-only, over other memory, and detached. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 2 * PAGE + 100, PAGES = 3 };

static void demand(int condition, const char *what)
{
    if (condition) return;
    perror(what);
    exit(1);
}

static char *attach(int segment, void *where, int flags)
{
    char *memory = shmat(segment, where, flags);
    demand(memory != (void *)-1, "shmat");
    return memory;
}

static void add(int semaphores, unsigned short which, short by)
{
    struct sembuf operation = {which, by, 0};
    demand(!semop(semaphores, &operation, 1), "semop");
}

/* Takes turns with its parent, whose segment it attaches anew. */
static int child(int segment, int semaphores)
{
    char *own = attach(segment, NULL, 0);
    for (int turn = 0; turn < 20; turn++) {
        add(semaphores, 0, -1);
        snprintf(own + PAGE, 64, "child saw '%.50s'", own);
        add(semaphores, 1, 1);
    }
    demand(!shmdt(own), "shmdt");
    return 7;
}

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count > 1) {
        char *memory = attach(atoi(arguments[1]), NULL, SHM_RDONLY);
        printf("executed: %s\n", memory + 2 * PAGE);
        return 0;
    }
    int segment = shmget(IPC_PRIVATE, SIZE, 0600), semaphores = semget(IPC_PRIVATE, 2, 0600);
    demand(segment >= 0 && semaphores >= 0, "shmget, semget");
    char *first = attach(segment, NULL, 0), *second = attach(segment, NULL, SHM_RDONLY);
    printf("~ %d %p %p\n", segment, (void *)first, (void *)second);
    strcpy(first, "by the first");
    printf("by the second: %s\n", second);

    char *other = mmap(NULL, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    demand(other != MAP_FAILED, "mmap");
    memset(other, 'o', 2 * PAGES * PAGE);
    char *over = attach(segment, other + PAGE, SHM_REMAP);
    strcpy(over + 2 * PAGE, "over other memory");
    printf("%s, %c, %c\n", second + 2 * PAGE, other[PAGE - 1], over[PAGES * PAGE]);
    demand(!shmdt(over), "shmdt");
    char *again = mmap(over, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    printf("what was detached is gone: %d, zero: %d\n", again == over, !*again);
    again = mmap(first + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    strcpy(again, "mine amid the segment");

    fflush(stdout);
    pid_t pid = fork();
    if (!pid) _exit(child(segment, semaphores));
    for (int turn = 0; turn < 20; turn++) {
        snprintf(first, 64, "turn %d of %d", turn, (int)getpid());
        add(semaphores, 0, 1);
        add(semaphores, 1, -1);
        printf("~ %s\n", second + PAGE);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("%d, %.9s, %s\n", WEXITSTATUS(status), second + PAGE, again);

    demand(!shmdt(first), "shmdt");
    printf("what is not the segment's stays: %s\n", again);
    char number[16];
    snprintf(number, sizeof number, "%d", segment);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        execl("/proc/self/exe", arguments[0], number, NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    demand(!shmctl(segment, IPC_RMID, NULL) && !semctl(semaphores, 0, IPC_RMID), "IPC_RMID");
    printf("still there: %.9s\n", second + PAGE);
    int next = shmget(IPC_PRIVATE, PAGE, 0600);
    char *fresh = attach(next, NULL, 0);
    shmctl(next, IPC_RMID, NULL);
    printf("another is empty: %d\n", !*fresh);
    return 0;
}
