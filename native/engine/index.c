#include "index.h"

#include "event.h"

bool index_events(const uint8_t *data, size_t size, size_t count, uint64_t *offsets, uint64_t *times)
{
    struct cursor cursor = {data, data + size, false};
    uint64_t time = 0;
    for (size_t i = 0; i < count && !cursor.bad; i++) {
        offsets[i] = (uint64_t)(cursor.at - data);
        times[i] = time;
        struct head head = read_head(&cursor);
        time += head.delta;
        for (size_t item = NUMBERS_IN_HEAD; item < head.items && !cursor.bad; item++) read_skip(&cursor);
    }
    offsets[count] = size;
    times[count] = time;
    return !cursor.bad && cursor.at == cursor.end;
}

struct outline outline_of(const uint8_t *event, const uint8_t *end)
{
    struct cursor cursor = {event, end, false};
    struct head head = read_head(&cursor);
    uint64_t call = head.kind == EVENT_SYSCALL ? read_unsigned(&cursor) : 0;
    return (struct outline){head.task, head.kind == EVENT_SYSCALL, call};
}

static bool is_wanted(struct cursor cursor, const struct wanted *wanted)
{
    struct head head = read_head(&cursor);
    if (head.kind < 64 && wanted->kinds >> head.kind & 1) return true;
    if (head.kind != EVENT_SYSCALL) return false;
    uint64_t number = read_unsigned(&cursor);
    if (number < wanted->call_count && wanted->calls[number]) return true;
    if (!wanted->output || head.items <= ITEMS_OF_CALL) return false;
    for (unsigned item = NUMBERS_IN_HEAD + 1; item < ITEMS_OF_CALL; item++) read_skip(&cursor);
    return read_unsigned(&cursor) && !cursor.bad;
}

size_t select_events(const uint8_t *data, const uint64_t *offsets, size_t count, const struct wanted *wanted, uint32_t *found)
{
    size_t selected = 0;
    for (size_t i = 0; i < count; i++)
        if (is_wanted((struct cursor){data + offsets[i], data + offsets[i + 1], false}, wanted)) found[selected++] = (uint32_t)i;
    return selected;
}
