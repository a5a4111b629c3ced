/* Growing memory for `struct buffer` and `struct ranges`; the agent, which has no heap, has its own. */
#include <stdlib.h>
#include <string.h>

#include "transfer.h"
#include "wire.h"

uint8_t *buffer_extend(struct buffer *buffer, size_t size)
{
    if (buffer->failed) return NULL;
    if (size > SIZE_MAX / 4) {
        buffer->failed = true;
        return NULL;
    }
    if (size > buffer->capacity - buffer->size) {
        size_t capacity = buffer->capacity ? buffer->capacity : 4096;
        while (capacity - buffer->size < size) capacity *= 2;
        uint8_t *data = realloc(buffer->data, capacity);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    uint8_t *place = buffer->data + buffer->size;
    buffer->size += size;
    return place;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

bool ranges_grow(struct ranges *ranges)
{
    size_t capacity = ranges->capacity ? 2 * ranges->capacity : 8;
    struct iovec *item = realloc(ranges->item, capacity * sizeof *item);
    if (!item) {
        ranges->failed = true;
        return false;
    }
    ranges->item = item;
    ranges->capacity = capacity;
    return true;
}

void ranges_free(struct ranges *ranges)
{
    free(ranges->item);
    memset(ranges, 0, sizeof *ranges);
}
