/* Python values as msgpack, in the engine's buffers: importing msgpack would take a recording two milliseconds
   (docs/performance.md). */
#ifndef PYRR_PACK_H
#define PYRR_PACK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "wire.h"

/* Appends None, a truth value, an int of 64 bits, a float, a str, bytes, or a tuple, list or dict of such, as msgpack.packb with
   unicode_errors="surrogateescape" does. False with an exception set. */
bool pack(struct buffer *buffer, PyObject *value);

#endif
