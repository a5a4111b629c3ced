#include "targets.h"

#include <string.h>

enum { CALL = 0xe8, JUMP = 0xe9, TWO_BYTES = 0x0f, LEA = 0x8d, DISPLACEMENT_BYTES = 4 };

/* Bytes of the opcode, and of the register that an address goes to, before a displacement from the instruction pointer; 0: no such
   instruction (Intel SDM volume 2: CALL, JMP, Jcc, LEA). */
static size_t opcode_size(const uint8_t *code)
{
    switch (code[0]) {
    case CALL:
    case JUMP: return 1;
    case TWO_BYTES: return (code[1] & 0xf0) == 0x80 ? 2 : 0;
    case LEA: return (code[1] & 0xc7) == 0x05 ? 2 : 0;
    default: return 0;
    }
}

static bool is_among(const uint64_t *sorted, size_t count, uint64_t value)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sorted[middle] < value) low = middle + 1;
        else high = middle;
    }
    return low < count && sorted[low] == value;
}

void find_targets(const uint8_t *code, size_t size, uint64_t base, const uint64_t *wanted, size_t count, struct buffer *found, struct buffer *taken)
{
    for (size_t at = 0; at + 1 + DISPLACEMENT_BYTES < size; at++) {
        size_t opcode = opcode_size(code + at);
        if (!opcode || at + opcode + DISPLACEMENT_BYTES > size) continue;
        int32_t displacement;
        memcpy(&displacement, code + at + opcode, sizeof displacement);
        uint64_t target = base + at + opcode + DISPLACEMENT_BYTES + (uint64_t)(int64_t)displacement;
        if (is_among(wanted, count, target)) buffer_append(found, &target, sizeof target);
        else if (code[at] == LEA && target % 4 == 0) buffer_append(taken, &target, sizeof target);
    }
}

void find_words(const uint8_t *data, size_t size, const uint64_t *wanted, size_t count, struct buffer *found)
{
    for (size_t at = 0; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, data + at, sizeof word);
        if (is_among(wanted, count, word)) buffer_append(found, &word, sizeof word);
    }
}

bool find_entries(const struct tables *tables, const uint64_t *addresses, size_t address_count, const uint64_t *wanted, size_t count, struct buffer *found)
{
    size_t entries = 0;
    for (size_t i = 0; i < address_count; i++) {
        if (addresses[i] < tables->start) continue;
        size_t first = (addresses[i] - tables->start) / sizeof(int32_t);
        for (size_t at = first; at < tables->count && at - first < tables->longest; at++, entries++) {
            int32_t distance;
            memcpy(&distance, tables->words + at * sizeof distance, sizeof distance);
            uint64_t target = addresses[i] + (uint64_t)(int64_t)distance;
            if (target < tables->lowest || target >= tables->highest) break;
            if (is_among(wanted, count, target)) buffer_append(found, &target, sizeof target);
        }
        if (entries > tables->most) return false;
    }
    return true;
}
