/* The part of msgpack that events are made of (docs/trace-format.md), written and read without Python. */
#ifndef PYRR_WIRE_H
#define PYRR_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing buffer. After a failed allocation `failed` stays set and writes do nothing. */
struct buffer {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
};

/* Room for `size` more bytes, counted as written; NULL when out of memory. */
uint8_t *buffer_extend(struct buffer *buffer, size_t size);
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_free(struct buffer *buffer);

void wire_array(struct buffer *buffer, size_t count);
void wire_unsigned(struct buffer *buffer, uint64_t value);
void wire_signed(struct buffer *buffer, int64_t value);
void wire_binary(struct buffer *buffer, const void *data, size_t size);
/* Writes the head of a binary of `size` bytes and returns the place for them. */
uint8_t *wire_binary_reserve(struct buffer *buffer, size_t size);
void wire_text(struct buffer *buffer, const char *text);
void wire_text_of(struct buffer *buffer, const char *text, size_t size);
void wire_map(struct buffer *buffer, size_t count);
void wire_nil(struct buffer *buffer);
void wire_double(struct buffer *buffer, double value);
void wire_bool(struct buffer *buffer, bool value);

/* A cursor over hostile bytes: every reader checks bounds and types, and sets `bad` once and for all. */
struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

size_t read_array(struct cursor *cursor);
uint64_t read_unsigned(struct cursor *cursor);
int64_t read_signed(struct cursor *cursor);
const uint8_t *read_binary(struct cursor *cursor, size_t *size);
bool at_binary(const struct cursor *cursor);
void read_skip(struct cursor *cursor);

#endif
