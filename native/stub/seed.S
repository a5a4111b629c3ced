/* The empty process in which a replayed program goes live: one page of text at the gate's address (stub.ld), and nothing given
   up. It traps at once; the page's syscall instruction makes all calls that rebuild the program (native/engine/live.h).

   With an argument it is the first process of a namespace of process ids (live_own_ids): it sleeps until the process of
   its descriptor 0, a pidfd, has ended, and then until all others have. */
    .section .text.gate, "ax"
gate: syscall
    int3
    .section .text.start, "ax"
    .globl _start
_start: cmpq $1, (%rsp)
    jne first
    int3
    jmp _start
first: movabs $0x100000000, %rax /* struct pollfd: descriptor 0, POLLIN */
    push %rax
1:  mov $7, %eax /* poll */
    mov %rsp, %rdi
    mov $1, %esi
    mov $-1, %rdx
    syscall
    cmp $1, %rax
    jne 1b
2:  mov $61, %eax /* wait4 */
    mov $-1, %rdi
    xor %esi, %esi
    xor %edx, %edx
    xor %r10d, %r10d
    syscall
    cmp $-10, %rax /* ECHILD */
    jne 2b
    mov $62, %eax /* kill */
    mov $-1, %rdi
    xor %esi, %esi
    syscall
    cmp $-3, %rax /* ESRCH: nobody is left, whoever is the parent */
    je 3f
    mov $7, %eax /* poll */
    xor %edi, %edi
    xor %esi, %esi
    mov $50, %edx /* milliseconds */
    syscall
    jmp 2b
3:  mov $60, %eax /* exit */
    xor %edi, %edi
    syscall
    .section .note.GNU-stack, "", @progbits
