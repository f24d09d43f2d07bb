/*
 * capd._survey: one pass over the bytes of a segment.
 *
 *   survey      which blocks are whole, when, how many packets, what was lost; and, from
 *               _dissect.c and _sketch.c, a sketch of what is in the packets
 *
 * What a block must look like: _blocks.h.  No allocation, no Python object and no system call
 * inside the walk, which runs without the GIL.
 * The slow twin, and oracle, is tests/support/survey_twin.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_blocks.h"
#include "_sketch.h"

#define BLOCK_SHB 0x0A0D0D0Au
#define BLOCK_IDB 1u
#define LEAST_SHB 28u
#define LEAST_IDB 20u
#define LEAST_ISB 24u
#define BYTE_ORDER_MAGIC 0x1A2B3C4Du
#define MAJOR_VERSION 1u
#define IF_TSRESOL 9u
#define NANOSECONDS 9u
#define ISB_IFRECV 4u
#define ISB_OSDROP 7u
#define ISB_USRDELIV 8u

struct walk {
    const uint8_t *content;
    size_t size;
    size_t limit;
    size_t end; /* after the last whole block */
    int link_type; /* -1: the head has not been seen */
    uint64_t packets;
    uint64_t first; /* smallest and largest stamp, ns since 1970 */
    uint64_t last;
    uint64_t lost; /* UINT64_MAX: nothing told */
    uint64_t closed;
    struct sketch *sketch; /* NULL: not asked for, or not known */
};

static bool
walk_shb(const uint8_t *block, uint32_t length)
{
    return length >= LEAST_SHB && get32(block + 8) == BYTE_ORDER_MAGIC &&
           get16(block + 12) == MAJOR_VERSION;
}

/* The link type of a description whose stamps are nanoseconds, or -1. */
static int
walk_idb(const uint8_t *block, uint32_t length)
{
    if (length < LEAST_IDB)
        return -1;
    const uint8_t *at = block + 16, *end = block + length - TRAILER;
    struct option option;
    bool nanoseconds = false;
    int more;

    while ((more = next_option(&at, end, &option)) > 0) {
        if (option.code != IF_TSRESOL)
            continue;
        if (option.length != 1 || option.value[0] != NANOSECONDS)
            return -1;
        nanoseconds = true;
    }
    return more == 0 && nanoseconds ? get16(block + 8) : -1;
}

static bool
walk_isb(struct walk *walk, const uint8_t *block, uint32_t length)
{
    if (length < LEAST_ISB || get32(block + 8) != 0)
        return false;
    const uint8_t *at = block + 20, *end = block + length - TRAILER;
    uint64_t received = 0, delivered = 0, dropped = 0;
    unsigned told = 0;
    struct option option;
    int more;

    while ((more = next_option(&at, end, &option)) > 0) {
        if (option.length != 8)
            continue;
        if (option.code == ISB_IFRECV)
            received = get64(option.value);
        else if (option.code == ISB_USRDELIV)
            delivered = get64(option.value);
        else if (option.code == ISB_OSDROP)
            dropped = get64(option.value);
        else
            continue;
        told |= 1u << option.code;
    }
    if (more < 0)
        return false;
    if ((told & (1u << ISB_IFRECV)) && (told & (1u << ISB_USRDELIV)))
        walk->lost = received > delivered ? received - delivered : 0;
    else if (told & (1u << ISB_OSDROP))
        walk->lost = dropped;
    walk->closed = get_stamp(block + 12);
    return true;
}

static bool
walk_epb(struct walk *walk, const uint8_t *block, uint32_t length)
{
    struct packet_block packet;

    if (!read_packet(block, length, &packet))
        return false;
    walk->packets++;
    if (packet.stamp < walk->first)
        walk->first = packet.stamp;
    if (packet.stamp > walk->last)
        walk->last = packet.stamp;
    if (walk->sketch != NULL)
        sketch_packet(walk->sketch, walk->link_type, packet.data, packet.captured);
    return true;
}

/* A block behind the head; false: capd does not write it. */
static bool
walk_block(struct walk *walk, uint32_t type, const uint8_t *block, uint32_t length)
{
    switch (type) {
    case BLOCK_EPB:
        return walk_epb(walk, block, length);
    case BLOCK_ISB:
        return walk_isb(walk, block, length);
    default: /* one section, one interface, and padding; another type is a damaged one */
        return type & LOCAL_USE;
    }
}

/* SHB and IDB, walked both or not at all: without them nothing else can be read. */
static enum fault
walk_head(struct walk *walk)
{
    size_t at = walk->end;
    bool section = false;
    uint32_t type, length;

    for (;;) {
        enum fault fault = check_block(walk->content, walk->size, at, &type, &length);
        if (fault != NONE)
            return fault;
        const uint8_t *block = walk->content + at;
        at += length;
        if (!section) {
            if (type != BLOCK_SHB || !walk_shb(block, length))
                return BAD;
            section = true;
        } else if (type == BLOCK_IDB) {
            walk->link_type = walk_idb(block, length);
            if (walk->link_type < 0)
                return BAD;
            walk->end = at;
            return NONE;
        } else if (!(type & LOCAL_USE)) {
            return BAD;
        }
    }
}

static enum fault
walk_blocks(struct walk *walk)
{
    bool any = false;

    if (walk->end == walk->size)
        return NONE;
    if (walk->link_type < 0) {
        enum fault fault = walk_head(walk);
        if (fault != NONE)
            return fault;
        any = true;
    }
    while (walk->end < walk->size && (!any || walk->end < walk->limit)) {
        const uint8_t *block = walk->content + walk->end;
        uint32_t type, length = UINT32_MAX;
        enum fault fault = check_block(walk->content, walk->size, walk->end, &type, &length);
        /* Beyond the limit is beyond the question, whole or not, if there is a beyond. */
        if (fault != BAD && any && walk->limit < walk->size && length > walk->limit - walk->end)
            return NONE;
        if (fault != NONE)
            return fault;
        if (!walk_block(walk, type, block, length))
            return BAD;
        walk->end += length;
        any = true;
    }
    return NONE;
}

static PyObject *
survey(const Py_buffer *content, Py_ssize_t start, Py_ssize_t limit, int link_type, bool sketch)
{
    struct walk walk = {
        .content = content->buf,
        .size = (size_t)content->len,
        .limit = (size_t)limit,
        .end = (size_t)start,
        .link_type = link_type,
        .first = UINT64_MAX,
        .lost = UINT64_MAX,
    };
    enum fault fault;
    size_t length = 0;

    if (sketch && (link_type < 0 || can_sketch(link_type))) {
        walk.sketch = PyMem_RawCalloc(1, sizeof *walk.sketch);
        if (walk.sketch == NULL)
            return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS /* some MiB are read: a millisecond */
    fault = walk_blocks(&walk);
    if (walk.sketch != NULL && can_sketch(walk.link_type))
        length = encode_sketch(walk.sketch);
    Py_END_ALLOW_THREADS
    PyObject *result = Py_BuildValue(
        "niiKKKKKy#", (Py_ssize_t)walk.end, (int)fault, walk.link_type,
        (unsigned long long)walk.packets, (unsigned long long)walk.first,
        (unsigned long long)walk.last, (unsigned long long)walk.lost,
        (unsigned long long)walk.closed,
        length > 0 ? (const char *)walk.sketch->out : "", (Py_ssize_t)length);
    PyMem_RawFree(walk.sketch);
    return result;
}

static PyObject *
py_survey(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer content;
    Py_ssize_t start, limit;
    int link_type, sketch;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*nnip", &content, &start, &limit, &link_type, &sketch))
        return NULL;
    if (start < 0 || start > limit || limit > content.len || link_type < -1)
        PyErr_SetString(PyExc_ValueError, "outside of the content, or no link type");
    else
        result = survey(&content, start, limit, link_type, sketch);
    PyBuffer_Release(&content);
    return result;
}

static PyMethodDef methods[] = {
    {"survey", py_survey, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "capd._survey",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__survey(void)
{
    return PyModuleDef_Init(&module);
}
