#include "pack.h"

static bool pack_int(struct buffer *buffer, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow > 0) {
        unsigned long long large = PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred()) return false;
        wire_unsigned(buffer, large);
        return true;
    }
    if (overflow < 0) PyErr_SetString(PyExc_OverflowError, "the number does not fit into 64 bits");
    if (PyErr_Occurred()) return false;
    wire_signed(buffer, number);
    return true;
}

static bool pack_text(struct buffer *buffer, PyObject *value)
{
    PyObject *encoded = PyUnicode_AsEncodedString(value, "utf-8", "surrogateescape");
    if (!encoded) return false;
    wire_text_of(buffer, PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return true;
}

static bool pack_sequence(struct buffer *buffer, PyObject *value)
{
    wire_array(buffer, (size_t)PySequence_Fast_GET_SIZE(value));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); i++) {
        if (!pack(buffer, PySequence_Fast_GET_ITEM(value, i))) return false;
    }
    return true;
}

static bool pack_dict(struct buffer *buffer, PyObject *value)
{
    PyObject *key, *item;
    Py_ssize_t at = 0;
    wire_map(buffer, (size_t)PyDict_GET_SIZE(value));
    while (PyDict_Next(value, &at, &key, &item)) {
        if (!pack(buffer, key) || !pack(buffer, item)) return false;
    }
    return true;
}

bool pack(struct buffer *buffer, PyObject *value)
{
    if (value == Py_None) wire_nil(buffer);
    else if (PyBool_Check(value)) wire_bool(buffer, value == Py_True);
    else if (PyLong_Check(value)) return pack_int(buffer, value);
    else if (PyFloat_Check(value)) wire_double(buffer, PyFloat_AS_DOUBLE(value));
    else if (PyUnicode_Check(value)) return pack_text(buffer, value);
    else if (PyBytes_Check(value)) wire_binary(buffer, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
    else {
        if (!PyTuple_Check(value) && !PyList_Check(value) && !PyDict_Check(value)) {
            PyErr_Format(PyExc_TypeError, "%s cannot be part of an event", Py_TYPE(value)->tp_name);
            return false;
        }
        if (Py_EnterRecursiveCall(" of an event")) return false;
        bool packed = PyDict_Check(value) ? pack_dict(buffer, value) : pack_sequence(buffer, value);
        Py_LeaveRecursiveCall();
        return packed;
    }
    return true;
}
