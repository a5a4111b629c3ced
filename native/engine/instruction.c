#include "instruction.h"

#include <immintrin.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <x86intrin.h>

#define INDEX(field) (offsetof(struct user_regs_struct, field) / 8)

enum { REGISTERS = sizeof(struct user_regs_struct) / 8 };

/* The general registers in the order of their numbers in machine code. */
static const uint8_t general[16] = {INDEX(rax), INDEX(rcx), INDEX(rdx), INDEX(rbx), INDEX(rsp), INDEX(rbp),
                                    INDEX(rsi), INDEX(rdi), INDEX(r8),  INDEX(r9),  INDEX(r10), INDEX(r11),
                                    INDEX(r12), INDEX(r13), INDEX(r14), INDEX(r15)};

static void change(struct instruction *instruction, unsigned index, uint64_t value)
{
    instruction->index[instruction->changes] = index;
    instruction->value[instruction->changes++] = value;
}

void trap_counter(bool trap) { prctl(PR_SET_TSC, trap ? PR_TSC_SIGSEGV : PR_TSC_ENABLE, 0, 0, 0); }

static bool read_time(const uint8_t *code, size_t size, struct instruction *instruction)
{
    uint64_t time;
    if (size >= 2 && code[0] == 0x0f && code[1] == 0x31) {
        instruction->name = "rdtsc";
        instruction->length = 2;
        trap_counter(false);
        time = __rdtsc();
        trap_counter(true);
    } else if (size >= 3 && code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xf9) {
        unsigned processor;
        instruction->name = "rdtscp";
        instruction->length = 3;
        trap_counter(false);
        time = __rdtscp(&processor);
        trap_counter(true);
        change(instruction, INDEX(rcx), processor);
    } else {
        return false;
    }
    change(instruction, INDEX(rax), time & 0xffffffff);
    change(instruction, INDEX(rdx), time >> 32);
    return true;
}

__attribute__((target("rdrnd,rdseed"))) static bool draw(bool seed, unsigned long long *value)
{
    for (unsigned tries = 0; tries < 64; tries++)
        if (seed ? _rdseed64_step(value) : _rdrand64_step(value)) return true;
    return false;
}

static bool read_random(const uint8_t *code, size_t size, const struct user_regs_struct *registers,
                        struct instruction *instruction)
{
    /* [66] [REX] 0f c7 /6 (rdrand) or /7 (rdseed), register form: Intel SDM volume 2. */
    size_t at = 0;
    bool narrow = false;
    uint8_t rex = 0;
    while (at < size && code[at] == 0x66) narrow = true, at++;
    if (at < size && (code[at] & 0xf0) == 0x40) rex = code[at++];
    if (at + 3 > size || code[at] != 0x0f || code[at + 1] != 0xc7 || code[at + 2] < 0xf0) return false;
    bool seed = code[at + 2] >= 0xf8;
    unsigned index = general[(code[at + 2] & 7) | (rex & 1) << 3];
    unsigned long long value = 0;
    bool drawn = draw(seed, &value);
    uint64_t old;
    memcpy(&old, (const char *)registers + 8 * index, 8);
    if (!(rex & 8)) value = narrow ? (old & ~UINT64_C(0xffff)) | (value & 0xffff) : value & 0xffffffff;
    instruction->name = seed ? "rdseed" : "rdrand";
    instruction->length = (unsigned)at + 3;
    change(instruction, index, value);
    /* CF tells success; OF, SF, ZF, AF and PF are cleared. */
    change(instruction, INDEX(eflags), (registers->eflags & ~UINT64_C(0x8d5)) | drawn);
    return true;
}

bool instruction_emulate(const uint8_t *code, size_t size, const struct user_regs_struct *registers,
                         struct instruction *instruction)
{
    memset(instruction, 0, sizeof *instruction);
    return read_time(code, size, instruction) || read_random(code, size, registers, instruction);
}

bool instruction_apply(const struct instruction *instruction, struct user_regs_struct *registers)
{
    for (unsigned i = 0; i < instruction->changes; i++) {
        if (instruction->index[i] >= REGISTERS) return false;
        memcpy((char *)registers + 8 * instruction->index[i], &instruction->value[i], 8);
    }
    registers->rip += instruction->length;
    return true;
}
