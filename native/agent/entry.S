/* The way from a stub into the agent and back, and the agent's own system call instructions.
   Offsets into struct agent_state (agent.h, which asserts them). */
#include "../stub/gate.h"
#include "layout.h"

    .section .text.entry, "ax"
    .globl agent_entry
agent_entry:
    jmp hook
    .balign 8
places:
    .quad 0x31746e6567617279
    .long checks - agent_entry, calls - agent_entry, traced - agent_entry, flush - agent_entry
    .long report - agent_entry, copy - agent_entry, copied - agent_entry, compare - agent_entry, compared - agent_entry
    .long ends - agent_entry, ended - agent_entry, agent_image_end - agent_entry

/* rcx: the stub's `after`; r11 is free. */
hook:
    mov %rsp, agent_state + STATE_RSP(%rip)
    lea agent_state + STATE_STACK_TOP - 8(%rip), %rsp
    pushf
    cld
    push %rcx
    push %rax
    push %rdi
    push %rsi
    push %rdx
    push %r10
    push %r8
    push %r9
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    mov agent_state + STATE_RSP(%rip), %rax
    mov %rax, 120(%rsp)
    call agent_hook
    cmpl $ATTENTION_LEAVE, agent_state + STATE_ATTENTION(%rip)
ends:
    je 2f
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r9
    pop %r8
    pop %r10
    pop %rdx
    pop %rsi
    pop %rdi
    pop %rax
    pop %rcx
    mov (%rsp), %r11
    popf
    mov agent_state + STATE_RSP(%rip), %rsp
    jmp *agent_state + STATE_TARGET(%rip)
/* The tracer sets the task onto its way from here. */
2:  mov $39, %eax
    syscall
    ud2
ended:

/* int64_t agent_call(number, a, b, c, d, e, f): CALLED_OFF where the tracer wants the task to stop instead. */
    .globl agent_call
agent_call:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
checks:
    cmpl $0, agent_state + STATE_ATTENTION(%rip)
    jne 1f
calls:
    syscall
    ret
/* int64_t agent_ask(number, a, b, c): a call of the agent's own, which the program does not know of. */
    .globl agent_ask
agent_ask:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    syscall
    ret
/* Never runs into this one: the tracer sets tasks onto it and away from behind it. */
traced:
    syscall
    ud2
1:  mov $CALLED_OFF, %rax
    ret

/* int64_t agent_repeat(number, a, b, c, d, e, f): a memory call of the recording, in replay, through the gate (stub.c). */
    .globl agent_repeat
agent_repeat:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    movabs $AGENT_GATE, %r11
    jmp *%r11

/* void agent_flush(void), void agent_report(void). Outside of the range that may make calls; getpid, should nobody trace. */
    .globl agent_flush
agent_flush:
    mov $39, %eax
flush:
    syscall
    ret
    .globl agent_report
agent_report:
    mov $39, %eax
report:
    syscall
    ret

/* size_t agent_copy(to, from, size): what was not copied, because a pointer is bad. */
    .globl agent_copy
agent_copy:
    mov %rdx, %rcx
copy:
    rep movsb
copied:
    mov %rcx, %rax
    ret

/* bool agent_equals(a, b, size), of at least REFERENCE_LEAST bytes: whether they are the same; not, if a pointer is bad. The
   program's vector registers come out as they were. */
    .globl agent_equals
agent_equals:
    sub $64, %rsp
    movdqu %xmm0, (%rsp)
    movdqu %xmm1, 16(%rsp)
    movdqu %xmm2, 32(%rsp)
    movdqu %xmm3, 48(%rsp)
    lea -64(%rdi, %rdx), %rcx
    lea -64(%rsi, %rdx), %rdx
    xor %r8d, %r8d
    xor %r9d, %r9d
compare:
1:  movdqu (%rdi), %xmm0
    movdqu (%rsi), %xmm1
    movdqu 16(%rdi), %xmm2
    movdqu 16(%rsi), %xmm3
    pcmpeqb %xmm1, %xmm0
    pcmpeqb %xmm3, %xmm2
    pand %xmm2, %xmm0
    movdqu 32(%rdi), %xmm1
    movdqu 32(%rsi), %xmm2
    pcmpeqb %xmm2, %xmm1
    pand %xmm1, %xmm0
    movdqu 48(%rdi), %xmm2
    movdqu 48(%rsi), %xmm3
    pcmpeqb %xmm3, %xmm2
    pand %xmm2, %xmm0
    pmovmskb %xmm0, %eax
    cmp $0xffff, %eax
    jne compared
    add $64, %rdi
    add $64, %rsi
    cmp %rcx, %rdi
    jb 1b
    /* The last 64 bytes may overlap those before. */
    test %r9d, %r9d
    jne 2f
    mov %rcx, %rdi
    mov %rdx, %rsi
    mov $1, %r9d
    jmp 1b
2:  mov $1, %r8d
compared:
    movdqu (%rsp), %xmm0
    movdqu 16(%rsp), %xmm1
    movdqu 32(%rsp), %xmm2
    movdqu 48(%rsp), %xmm3
    add $64, %rsp
    mov %r8d, %eax
    ret
    .section .note.GNU-stack, "", @progbits
