/* What a system call leaves in the registers: all as it was, but for rax, rcx (the place behind it) and r11 (flags). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15, FLAGS, COUNT };
static const char *const names[] = {
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "flags",
};

/* Loads all registers from `in`, makes the call, stores all to `out`. */
void probe(const uint64_t in[COUNT], uint64_t out[COUNT]);
extern char behind_probe[];
__asm__(".text\n .globl probe, behind_probe\n"
        "probe: push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rsi\n"
        "mov %rdi, %rax\n pushq 120(%rax)\n popfq\n"
        "mov 8(%rax), %rbx\n mov 16(%rax), %rcx\n mov 24(%rax), %rdx\n mov 32(%rax), %rsi\n mov 40(%rax), %rdi\n"
        "mov 48(%rax), %rbp\n mov 56(%rax), %r8\n mov 64(%rax), %r9\n mov 72(%rax), %r10\n mov 80(%rax), %r11\n"
        "mov 88(%rax), %r12\n mov 96(%rax), %r13\n mov 104(%rax), %r14\n mov 112(%rax), %r15\n mov (%rax), %rax\n"
        "syscall\n"
        "behind_probe: xchg %rax, (%rsp)\n"
        "mov %rbx, 8(%rax)\n mov %rcx, 16(%rax)\n mov %rdx, 24(%rax)\n mov %rsi, 32(%rax)\n mov %rdi, 40(%rax)\n"
        "mov %rbp, 48(%rax)\n mov %r8, 56(%rax)\n mov %r9, 64(%rax)\n mov %r10, 72(%rax)\n mov %r11, 80(%rax)\n"
        "mov %r12, 88(%rax)\n mov %r13, 96(%rax)\n mov %r14, 104(%rax)\n mov %r15, 112(%rax)\n"
        "pushfq\n popq 120(%rax)\n pushq $0x202\n popfq\n popq (%rax)\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

static int differing; /* of the current case */

static void check(const char *name, uint64_t found, uint64_t expected)
{
    if (found != expected && differing++ < 10)
        printf("  %s differs by %#lx\n", name, found ^ expected);
}

static int64_t compare(long number, const uint64_t arguments[6], uint64_t flags)
{
    static const int places[6] = {RDI, RSI, RDX, R10, R8, R9};
    uint64_t in[COUNT], out[COUNT];
    for (int i = 0; i < COUNT; i++)
        in[i] = (uint64_t)(i + 1) * 0x1122334455667788u ^ 0xa5a5a5a5a5a5a5a5;
    in[RAX] = (uint64_t)number;
    in[FLAGS] = flags;
    if (arguments)
        for (int i = 0; i < 6; i++)
            in[places[i]] = arguments[i];
    probe(in, out);
    for (int i = RBX; i < COUNT; i++)
        if (i != RCX && i != R11)
            check(names[i], out[i], in[i]);
    check("rcx, the place behind the call,", out[RCX], (uint64_t)behind_probe);
    check("r11, the flags,", out[R11], flags);
    return (int64_t)out[RAX];
}

static void flags(void)
{
    static const struct {
        const char *name;
        uint64_t bits;
    } all[] = {
        {"none", 0}, {"carry", 1}, {"parity", 4}, {"adjust", 0x10}, {"zero", 0x40}, {"sign", 0x80},
        {"direction", 0x400}, {"overflow", 0x800}, {"nested task", 0x4000}, {"alignment check", 0x40000},
        {"identification", 0x200000}, {"many", 0x240cd5},
    };
    static char memory[256];
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        differing = 0;
        int zero = open("/dev/zero", O_RDONLY);
        const uint64_t reading[6] = {(unsigned)zero, (uint64_t)(memory + 1), 37, 1, 2, 3};
        const uint64_t state[6] = {(uint64_t)"/", (uint64_t)(memory + 3), 1, 2, 3, 4};
        int64_t bytes = 0, stated = 0;
        for (int again = 0; again < 50; again++) {
            compare(SYS_getppid, NULL, all[i].bits | 0x202);
            bytes += compare(SYS_read, reading, all[i].bits | 0x202);
            stated += compare(SYS_stat, state, all[i].bits | 0x202);
        }
        close(zero);
        printf("flags %s: %d differing, %ld bytes, %ld\n", all[i].name, differing, bytes, stated);
    }
}

static void kinds_of_call(void)
{
    static char memory[4096], more[64];
    struct timespec time;
    struct iovec parts[2] = {{memory, 10}, {more, 20}};
    int zero = open("/dev/zero", O_RDWR), ends[2];
    if (pipe(ends) || write(ends[1], memory, 100) != 100)
        return;
#define P(x) ((uint64_t)(x))
    const struct {
        const char *name;
        long number;
        uint64_t arguments[6];
    } all[] = {
        {"getpid", SYS_getpid, {1, 2, 3, 4, 5, 6}},
        {"nothing", 1000, {1, 2, 3, 4, 5, 6}},
        {"bad descriptor", SYS_read, {999, P(memory), 10, 4, 5, 6}},
        {"bad pointer", SYS_read, {P(zero), 8, 10, 4, 5, 6}},
        {"pread64", SYS_pread64, {P(zero), P(memory), 4096, 100, 5, 6}},
        {"readv", SYS_readv, {P(zero), P(parts), 2, 4, 5, 6}},
        {"write", SYS_write, {P(zero), P(memory), 4096, 4, 5, 6}},
        {"lseek", SYS_lseek, {P(zero), 0, 0, 4, 5, 6}},
        {"clock_gettime", SYS_clock_gettime, {1, P(&time), 3, 4, 5, 6}},
        {"stat of nothing", SYS_stat, {P("/nothing"), P(memory), 3, 4, 5, 6}},
        {"mmap", SYS_mmap, {0, 4096, 3, 0x22, P(-1), 0}},
        {"sched_yield", SYS_sched_yield, {1, 2, 3, 4, 5, 6}},
        {"rt_sigprocmask", SYS_rt_sigprocmask, {0, 0, P(memory), 8, 5, 6}},
        {"getrandom", SYS_getrandom, {P(memory), 100, 0, 4, 5, 6}},
        {"poll", SYS_poll, {0, 0, 1, 4, 5, 6}},
        {"uname", SYS_uname, {P(memory), 2, 3, 4, 5, 6}},
        {"dup", SYS_dup, {999, 2, 3, 4, 5, 6}},
        {"fcntl", SYS_fcntl, {P(zero), 1, 0, 4, 5, 6}},
        {"io_setup", SYS_io_setup, {1, P(memory), 0, 4, 5, 6}},
        {"rseq", SYS_rseq, {0, 0, 0, 4, 5, 6}},
        {"arch_prctl", SYS_arch_prctl, {0x1003, P(memory), 3, 4, 5, 6}},
        {"set_tid_address", SYS_set_tid_address, {P(memory), 2, 3, 4, 5, 6}},
        {"futex", SYS_futex, {P(memory), 1, 1, 4, 5, 6}},
        {"nanosleep", SYS_nanosleep, {P(more + 32), 0, 3, 4, 5, 6}},
        {"read of a pipe", SYS_read, {P(ends[0]), P(memory), 1, 4, 5, 6}},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        differing = 0;
        for (int again = 0; again < 20; again++)
            compare(all[i].number, all[i].arguments, 0x246);
        printf("%s: %d differing\n", all[i].name, differing);
    }
}

/* Without a call to anything in between, lest the compiler or libc use them. */
__attribute__((target("avx"))) static int vectors_of_256(void)
{
    static uint8_t in[16][32], out[16][32];
    for (int i = 0; i < 512; i++)
        in[i / 32][i % 32] = (uint8_t)(i * 7 + 3);
#define LOAD(n) "vmovdqu " #n "*32(%0), %%ymm" #n "\n"
#define STORE(n) "vmovdqu %%ymm" #n ", " #n "*32(%1)\n"
#define ALL(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
    __asm__ volatile(ALL(LOAD) "mov $110, %%eax\n syscall\n" ALL(STORE) "vzeroupper"
                     :
                     : "r"(in), "r"(out)
                     : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return memcmp(in, out, sizeof in) != 0;
}

static int vectors_of_128(void)
{
    static uint8_t in[16][16], out[16][16];
    for (int i = 0; i < 256; i++)
        in[i / 16][i % 16] = (uint8_t)(i * 5 + 1);
#define LOAD_128(n) "movdqu " #n "*16(%0), %%xmm" #n "\n"
#define STORE_128(n) "movdqu %%xmm" #n ", " #n "*16(%1)\n"
    __asm__ volatile(ALL(LOAD_128) "mov $110, %%eax\n syscall\n" ALL(STORE_128)
                     :
                     : "r"(in), "r"(out)
                     : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return memcmp(in, out, sizeof in) != 0;
}

__attribute__((target("avx512f,avx512bw"))) static int masks(void)
{
    uint64_t found = 0;
    __asm__ volatile("kmovq %1, %%k5\n mov $110, %%eax\n syscall\n kmovq %%k5, %0"
                     : "=r"(found)
                     : "r"(0x123456789abcdef0)
                     : "rax", "rcx", "r11", "memory", "k5");
    return found != 0x123456789abcdef0;
}

/* Rounding upwards, and a number on the stack of the x87. */
static int floating(void)
{
    uint16_t word = 0x0b7f, found_word;
    uint32_t state = 0x5fa0, found_state, usual = 0x1f80;
    double number;
    __asm__ volatile("fninit\n fldcw %3\n ldmxcsr %4\n fldpi\n mov $110, %%eax\n syscall\n"
                     "fstpl %0\n fnstcw %1\n stmxcsr %2\n fninit\n ldmxcsr %5"
                     : "=m"(number), "=m"(found_word), "=m"(found_state)
                     : "m"(word), "m"(state), "m"(usual)
                     : "rax", "rcx", "r11", "memory");
    return (found_word != word) + (found_state != state) + (number < 3.14159 || number > 3.1416);
}

int main(void)
{
    printf("~ %d\n", getpid());
    flags();
    kinds_of_call();
    int wrong[4] = {0};
    for (int again = 0; again < 500; again++) {
        wrong[0] += vectors_of_128();
        wrong[1] += __builtin_cpu_supports("avx") ? vectors_of_256() : 0;
        wrong[2] += __builtin_cpu_supports("avx512bw") ? masks() : 0;
        wrong[3] += floating();
    }
    printf("128 bits %d, 256 bits %d, masks %d, floating point %d\n", wrong[0], wrong[1], wrong[2], wrong[3]);
    return 0;
}
