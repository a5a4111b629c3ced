/* A timer's handler amid a computation without calls. */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms;
static volatile unsigned long state = 1;

static void note(int signal)
{
    (void)signal;
    alarms++;
    state ^= 0x5555;
}

int main(void)
{
    struct sigaction action = {.sa_handler = note};
    struct itimerval every = {{0, 20000}, {0, 20000}}, never = {{0}};
    unsigned long turns = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    while (alarms < 5) {
        state = state * 6364136223846793005ul + 1442695040888963407ul;
        turns++;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    printf("alarms came\n~ %d in %lu turns: %lx\n", (int)alarms, turns, state);
    return 0;
}
