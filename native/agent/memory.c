/* What the compiler and the shared files expect of a C library. */
#include <stddef.h>
#include <stdint.h>

/* The two of them meet or overlap where `size` is less than both. */
#define COPY_ENDS(type)                                                                 \
    {                                                                                   \
        type first, last;                                                               \
        __builtin_memcpy(&first, from, sizeof first);                                   \
        __builtin_memcpy(&last, (const uint8_t *)from + size - sizeof last, sizeof last); \
        __builtin_memcpy(to, &first, sizeof first);                                     \
        __builtin_memcpy((uint8_t *)to + size - sizeof last, &last, sizeof last);       \
        return to;                                                                      \
    }

/* `rep movsb` takes as long to begin as a hundred bytes take. */
void *memcpy(void *to, const void *from, size_t size)
{
    if (size - 8 <= 8) COPY_ENDS(uint64_t)
    if (size - 4 < 4) COPY_ENDS(uint32_t)
    if (size - 2 < 2) COPY_ENDS(uint16_t)
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return start;
}

void *memset(void *to, int value, size_t size)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return start;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *left = a, *right = b;
    for (size_t i = 0; i < size; i++)
        if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
    return 0;
}

void *memchr(const void *data, int value, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] == (uint8_t)value) return (void *)(bytes + i);
    return NULL;
}

size_t strlen(const char *text)
{
    size_t size = 0;
    while (text[size]) size++;
    return size;
}
