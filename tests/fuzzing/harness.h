/*
 * What the libFuzzer harnesses have in common: an interpreter, capd's C modules in it, called by
 * the same entry points as capd calls them.
 *
 * An input is a head of fixed size with the arguments, then the content.  Content stands in memory
 * with nothing behind it that belongs to it: the sanitizer sees the first byte past.
 */

#ifndef CAPD_HARNESS_H
#define CAPD_HARNESS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL 0xA5

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef unsigned long long word;

/* A property that does not hold ends the process: libFuzzer keeps the input. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline uint32_t
get32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* One without its site packages: it needs nothing but itself, and begins sooner. */
static inline void
start_python(void)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.site_import = 0;
    config.install_signal_handlers = 0;
    EXPECT(!PyStatus_Exception(Py_InitializeFromConfig(&config)));
    PyConfig_Clear(&config);
}

static inline PyObject *
function_of(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    EXPECT(imported != NULL);
    PyObject *function = PyObject_GetAttrString(imported, name);
    EXPECT(function != NULL);
    Py_DECREF(imported);
    return function;
}

/* A copy of its own, which the caller frees. */
static inline uint8_t *
copy_of(const void *content, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    EXPECT(copy != NULL);
    if (size > 0)
        memcpy(copy, content, size);
    return copy;
}

/* Memory that shows what is written to it. */
static inline uint8_t *
filled(size_t size)
{
    uint8_t *memory = malloc(size > 0 ? size : 1);
    EXPECT(memory != NULL);
    memset(memory, FILL, size);
    return memory;
}

static inline PyObject *
view_of(uint8_t *memory, size_t size)
{
    PyObject *view = PyMemoryView_FromMemory((char *)memory, (Py_ssize_t)size, PyBUF_WRITE);
    EXPECT(view != NULL);
    return view;
}

/* Calls and takes the answer apart; false: ValueError, the only error that there may be. */
static inline bool
answered(PyObject *answer, const char *form, ...)
{
    if (answer == NULL) {
        EXPECT(PyErr_ExceptionMatches(PyExc_ValueError));
        PyErr_Clear();
        return false;
    }
    va_list places;
    va_start(places, form);
    EXPECT(PyArg_VaParse(answer, form, places));
    va_end(places);
    return true;
}

#endif
