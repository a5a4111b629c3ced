/* The empty process in which a replayed program goes live: one page of text at the gate's address (stub.ld), and nothing given
   up. It traps at once; the page's syscall instruction makes all calls that rebuild the program (native/engine/live.h). */
    .section .text.gate, "ax"
gate: syscall
    int3
    .section .text.start, "ax"
    .globl _start
_start: int3
    jmp _start
    .section .note.GNU-stack, "", @progbits
