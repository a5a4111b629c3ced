#define _GNU_SOURCE
#include "checksum.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tracee.h"

/* A batch stays in the processor's cache. */
enum { BATCH_PAGES = 16, WORDS = PAGE_BYTES / 8 };

_Static_assert(sizeof(struct page_sum) == 32, "pyrr_debugger.checksum reads four 64-bit words");

/* struct pm_scan_arg and struct page_region of linux/fs.h, which headers before Linux 6.7 do not have. */
struct scan {
    uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages, inverted, all_of, any_of, returned;
};
struct region {
    uint64_t start, end, categories;
};
_Static_assert(sizeof(struct scan) == 96 && sizeof(struct region) == 24, "the kernel's sizes");

#define PRESENT_OR_SWAPPED (3u << 3)
#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct scan)

/* The first batch with a page that is present or swapped. A range may be sparse and of terabytes (a sanitizer's
   shadow, a damaged trace): the scan skips tables that are not there, which reading the pagemap does not. */
static uint64_t first_touched(int pagemap, uint64_t start, uint64_t end)
{
    struct region region = {.start = end};
    struct scan scan = {.size = sizeof scan, .start = start, .end = end, .regions = (uintptr_t)&region, .region_count = 1,
                        .max_pages = 1, .any_of = PRESENT_OR_SWAPPED, .returned = PRESENT_OR_SWAPPED};
    int found = ioctl(pagemap, PAGEMAP_SCAN_CALL, &scan);
    if (found >= 0) return found ? region.start : end;
    while (start < end) {
        uint64_t entries[BATCH_PAGES];
        size_t count = (end - start) / PAGE_BYTES;
        if (count > BATCH_PAGES) count = BATCH_PAGES;
        if (pread(pagemap, entries, count * 8, (off_t)(start / PAGE_BYTES * 8)) != (ssize_t)(count * 8)) return start;
        /* Bits 63 and 62: present, swapped (Documentation/admin-guide/mm/pagemap.rst). */
        for (size_t i = 0; i < count; i++)
            if (entries[i] >> 62) return start;
        start += count * PAGE_BYTES;
    }
    return end;
}

static bool sum_page(const uint64_t *words, struct page_sum *result)
{
    /* Multiplicative mixing in four lanes; the multipliers are odd numbers with no structure (digits of pi). */
    uint64_t lanes[4] = {0x243f6a8885a308d3u, 0x13198a2e03707345u, 0xa4093822299f31d1u, 0x082efa98ec4e6c89u};
    uint64_t any = 0, sum = 0, weighted = 0;
    for (unsigned i = 0; i < WORDS; i += 4)
        for (unsigned lane = 0; lane < 4; lane++) {
            uint64_t word = words[i + lane];
            any |= word;
            sum += word;
            weighted += word * (i + lane + 1);
            lanes[lane] = (lanes[lane] ^ word) * 0x9e3779b97f4a7c15u;
            lanes[lane] ^= lanes[lane] >> 29;
        }
    uint64_t hash = 0;
    for (unsigned lane = 0; lane < 4; lane++) hash = (hash ^ lanes[lane]) * 0xbf58476d1ce4e5b9u, hash ^= hash >> 32;
    result->hash = hash;
    result->sum = sum;
    result->weighted = weighted;
    return any != 0;
}

bool checksum_range(pid_t pid, uint64_t start, uint64_t end, bool sparse, struct buffer *sums)
{
    uint64_t live = start;
    start = start / PAGE_BYTES * PAGE_BYTES;
    if (end % PAGE_BYTES || start >= end || end > ADDRESS_LIMIT) return false;
    int pagemap = -1;
    if (sparse) {
        char path[32];
        snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
        pagemap = open(path, O_RDONLY | O_CLOEXEC);
    }
    _Alignas(PAGE_BYTES) uint8_t pages[BATCH_PAGES * PAGE_BYTES];
    while (start < end) {
        if (pagemap >= 0 && (start = first_touched(pagemap, start, end)) == end) break;
        size_t count = (end - start) / PAGE_BYTES;
        if (count > BATCH_PAGES) count = BATCH_PAGES;
        /* Pages behind the end of a mapped file cannot be read; replay has zeros there, which have no sum. */
        size_t got = tracee_read(pid, start, pages, count * PAGE_BYTES) / PAGE_BYTES * PAGE_BYTES;
        memset(pages + got, 0, count * PAGE_BYTES - got);
        if (live > start) memset(pages, 0, live - start);
        for (size_t i = 0; i < count; i++) {
            struct page_sum sum = {.address = start + i * PAGE_BYTES};
            if (sum_page((const uint64_t *)(const void *)(pages + i * PAGE_BYTES), &sum))
                buffer_append(sums, &sum, sizeof sum);
        }
        start += count * PAGE_BYTES;
    }
    if (pagemap >= 0) close(pagemap);
    return true;
}
