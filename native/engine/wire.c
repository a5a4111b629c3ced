#include "wire.h"

#include <string.h>

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *place = size ? buffer_extend(buffer, size) : NULL;
    if (place) memcpy(place, data, size);
}

static inline void put_big_endian(struct buffer *buffer, uint8_t head, uint64_t value, size_t bytes)
{
    uint64_t swapped = bytes ? __builtin_bswap64(value << (64 - 8 * bytes)) : 0;
    /* Where there is room eight bytes are written, however many of them count: an event is some twenty numbers. */
    if (!buffer->failed && buffer->capacity - buffer->size > sizeof swapped) {
        uint8_t *place = buffer->data + buffer->size;
        *place = head;
        __builtin_memcpy(place + 1, &swapped, sizeof swapped); /* the agent has no builtins but by this name */
        buffer->size += bytes + 1;
        return;
    }
    uint8_t *place = buffer_extend(buffer, bytes + 1);
    if (!place) return;
    *place++ = head;
    for (size_t i = 0; i < bytes; i++) place[i] = (uint8_t)(swapped >> (8 * i));
}

void wire_unsigned(struct buffer *buffer, uint64_t value)
{
    if (value < 0x80) put_big_endian(buffer, (uint8_t)value, 0, 0);
    else if (value <= UINT8_MAX) put_big_endian(buffer, 0xcc, value, 1);
    else if (value <= UINT16_MAX) put_big_endian(buffer, 0xcd, value, 2);
    else if (value <= UINT32_MAX) put_big_endian(buffer, 0xce, value, 4);
    else put_big_endian(buffer, 0xcf, value, 8);
}

void wire_signed(struct buffer *buffer, int64_t value)
{
    if (value >= 0) wire_unsigned(buffer, (uint64_t)value);
    else if (value >= -32) put_big_endian(buffer, (uint8_t)value, 0, 0);
    else if (value >= INT8_MIN) put_big_endian(buffer, 0xd0, (uint64_t)value, 1);
    else if (value >= INT16_MIN) put_big_endian(buffer, 0xd1, (uint64_t)value, 2);
    else if (value >= INT32_MIN) put_big_endian(buffer, 0xd2, (uint64_t)value, 4);
    else put_big_endian(buffer, 0xd3, (uint64_t)value, 8);
}

void wire_array(struct buffer *buffer, size_t count)
{
    if (count < 16) put_big_endian(buffer, (uint8_t)(0x90 | count), 0, 0);
    else if (count <= UINT16_MAX) put_big_endian(buffer, 0xdc, count, 2);
    else put_big_endian(buffer, 0xdd, count, 4);
}

uint8_t *wire_binary_reserve(struct buffer *buffer, size_t size)
{
    if (size <= UINT8_MAX) put_big_endian(buffer, 0xc4, size, 1);
    else if (size <= UINT16_MAX) put_big_endian(buffer, 0xc5, size, 2);
    else put_big_endian(buffer, 0xc6, size, 4);
    return buffer_extend(buffer, size);
}

void wire_binary(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *place = wire_binary_reserve(buffer, size);
    if (place && size) memcpy(place, data, size);
}

void wire_text_of(struct buffer *buffer, const char *text, size_t size)
{
    if (size < 32) put_big_endian(buffer, (uint8_t)(0xa0 | size), 0, 0);
    else if (size <= UINT8_MAX) put_big_endian(buffer, 0xd9, size, 1);
    else if (size <= UINT16_MAX) put_big_endian(buffer, 0xda, size, 2);
    else put_big_endian(buffer, 0xdb, size, 4);
    buffer_append(buffer, text, size);
}

void wire_text(struct buffer *buffer, const char *text) { wire_text_of(buffer, text, strlen(text)); }

void wire_map(struct buffer *buffer, size_t count)
{
    if (count < 16) put_big_endian(buffer, (uint8_t)(0x80 | count), 0, 0);
    else if (count <= UINT16_MAX) put_big_endian(buffer, 0xde, count, 2);
    else put_big_endian(buffer, 0xdf, count, 4);
}

#ifndef PYRR_AGENT /* which has no floating point */
void wire_double(struct buffer *buffer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_big_endian(buffer, 0xcb, bits, 8);
}
#endif

void wire_nil(struct buffer *buffer) { put_big_endian(buffer, 0xc0, 0, 0); }

void wire_bool(struct buffer *buffer, bool value) { put_big_endian(buffer, value ? 0xc3 : 0xc2, 0, 0); }

static uint64_t take(struct cursor *cursor, size_t bytes)
{
    if (cursor->bad || (size_t)(cursor->end - cursor->at) < bytes) {
        cursor->bad = true;
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value = value << 8 | *cursor->at++;
    return value;
}

size_t read_array(struct cursor *cursor)
{
    uint64_t head = take(cursor, 1);
    if ((head & 0xf0) == 0x90) return head & 0x0f;
    if (head == 0xdc) return take(cursor, 2);
    if (head == 0xdd) return take(cursor, 4);
    cursor->bad = true;
    return 0;
}

int64_t read_signed(struct cursor *cursor)
{
    uint64_t head = take(cursor, 1);
    if (head < 0x80) return (int64_t)head;
    if (head >= 0xe0) return (int8_t)head;
    switch (head) {
    case 0xcc: return (int64_t)take(cursor, 1);
    case 0xcd: return (int64_t)take(cursor, 2);
    case 0xce: return (int64_t)take(cursor, 4);
    case 0xcf: return (int64_t)take(cursor, 8);
    case 0xd0: return (int8_t)take(cursor, 1);
    case 0xd1: return (int16_t)take(cursor, 2);
    case 0xd2: return (int32_t)take(cursor, 4);
    case 0xd3: return (int64_t)take(cursor, 8);
    default: cursor->bad = true; return 0;
    }
}

uint64_t read_unsigned(struct cursor *cursor) { return (uint64_t)read_signed(cursor); }

bool at_binary(const struct cursor *cursor)
{
    return !cursor->bad && cursor->at < cursor->end && *cursor->at >= 0xc4 && *cursor->at <= 0xc6;
}

static const uint8_t *take_bytes(struct cursor *cursor, size_t size)
{
    if (cursor->bad || (size_t)(cursor->end - cursor->at) < size) {
        cursor->bad = true;
        return NULL;
    }
    const uint8_t *data = cursor->at;
    cursor->at += size;
    return data;
}

const uint8_t *read_binary(struct cursor *cursor, size_t *size)
{
    *size = 0;
    if (!at_binary(cursor)) {
        cursor->bad = true;
        return NULL;
    }
    uint64_t head = take(cursor, 1);
    size_t length = take(cursor, head == 0xc4 ? 1 : head == 0xc5 ? 2 : 4);
    const uint8_t *data = take_bytes(cursor, length);
    if (data) *size = length;
    return data;
}

/* Nesting is bounded by counting what is still to be skipped instead of recursing: a hostile trace has no say over
   the stack. */
void read_skip(struct cursor *cursor)
{
    uint64_t todo = 1;
    while (todo-- && !cursor->bad) {
        uint64_t head = take(cursor, 1);
        if (cursor->bad) return;
        if (head < 0x80 || head >= 0xe0 || head == 0xc0 || head == 0xc2 || head == 0xc3) continue;
        if (head < 0x90) todo += 2 * (head & 0x0f);
        else if (head < 0xa0) todo += head & 0x0f;
        else if (head < 0xc0) take_bytes(cursor, head & 0x1f);
        else if (head == 0xc4 || head == 0xd9) take_bytes(cursor, take(cursor, 1));
        else if (head == 0xc5 || head == 0xda) take_bytes(cursor, take(cursor, 2));
        else if (head == 0xc6 || head == 0xdb) take_bytes(cursor, take(cursor, 4));
        else if (head == 0xcc || head == 0xd0) take_bytes(cursor, 1);
        else if (head == 0xcd || head == 0xd1) take_bytes(cursor, 2);
        else if (head == 0xca || head == 0xce || head == 0xd2) take_bytes(cursor, 4);
        else if (head == 0xcb || head == 0xcf || head == 0xd3) take_bytes(cursor, 8);
        else if (head == 0xdc) todo += take(cursor, 2);
        else if (head == 0xdd) todo += take(cursor, 4);
        else if (head == 0xde) todo += 2 * take(cursor, 2);
        else if (head == 0xdf) todo += 2 * take(cursor, 4);
        else cursor->bad = true;
    }
}
