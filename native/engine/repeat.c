#define _GNU_SOURCE
#include "repeat.h"

#include <sys/mman.h>
#include <sys/syscall.h>

/* Since Linux 6.13; not in older headers. */
enum { MADV_GUARD_INSTALL_ = 102, MADV_GUARD_REMOVE_ = 103 };

static bool is_apart(uint64_t address, uint64_t size, uint64_t start, uint64_t end) { return address >= end || address + size <= start; }

bool spares(uint64_t number, const uint64_t arguments[6], uint64_t start, uint64_t end)
{
    if (!is_apart(arguments[0], arguments[1], start, end)) return false;
    return number != SYS_mremap || !(arguments[3] & MREMAP_FIXED) || is_apart(arguments[4], arguments[2], start, end);
}

int64_t map_again(uint64_t address, const uint64_t arguments[6], call_maker make, void *maker)
{
    uint64_t type = (arguments[3] & MAP_TYPE) == MAP_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
    uint64_t flags = type | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE | (arguments[3] & MAP_GROWSDOWN);
    const uint64_t mapping[6] = {address, arguments[1], arguments[2], flags, (uint64_t)-1, 0};
    return make(maker, SYS_mmap, mapping);
}

static int64_t advise(const uint64_t arguments[6], call_maker make, void *maker)
{
    uint64_t advice[6] = {arguments[0], arguments[1], arguments[2]};
    switch (arguments[2]) {
    case MADV_FREE: advice[2] = MADV_DONTNEED; break;
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_GUARD_INSTALL_:
    case MADV_GUARD_REMOVE_:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK: break;
    default: return 0;
    }
    return make(maker, SYS_madvise, advice);
}

bool repeat_call(const struct call *call, call_maker make, void *maker)
{
    const uint64_t *arguments = call->arguments;
    uint64_t altered[6] = {arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]};
    switch (call->number) {
    case SYS_mmap: return map_again((uint64_t)call->result, arguments, make, maker) == call->result;
    case SYS_munmap:
    case SYS_mprotect: return make(maker, call->number, arguments) == call->result;
    case SYS_pkey_mprotect: return make(maker, SYS_mprotect, arguments) == call->result;
    case SYS_mremap:
        altered[3] = (arguments[3] & MREMAP_DONTUNMAP) | ((uint64_t)call->result == arguments[0] ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED);
        altered[4] = (uint64_t)call->result;
        return make(maker, SYS_mremap, altered) == call->result;
    case SYS_madvise: return advise(arguments, make, maker) == call->result;
    default: return true;
    }
}
