/* Where the gate of a replayed process lies: one page of code that holds the only `syscall` instruction whose calls
   its seccomp filter lets through. The address is far from all that Linux places by itself (programs low or from
   0x555555554000 on, libraries and stacks at 0x7f...), and nothing's shadow in programs built with a sanitizer: those take it for
   a program's place. native/stub/stub.c is linked there; the agent lies behind it (native/agent/layout.h). */
#ifndef PYRR_GATE_H
#define PYRR_GATE_H

#define GATE_PAGE 0x550000000000
#define GATE_BYTES 0x1000

/* The agent's own gate, which returns to it. The addresses behind the two instructions, as seccomp and Syscall User Dispatch see
   them. */
#define GATE_RETURN (GATE_PAGE + 2)
#define AGENT_GATE (GATE_PAGE + 4)
#define AGENT_GATE_RETURN (GATE_PAGE + 6)

/* The one descriptor that a replayed process holds: the memory it shares with others. */
#define SHARED_DESCRIPTOR 3

#endif
