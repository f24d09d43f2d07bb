/*
 * capd.query._merge: one stream of records out of the entries of many runs.
 *
 *   order       entries of one run put into the order of time, as far as the window reaches
 *   merge       the entries of several runs, as records of one file, in that order
 *
 * No Python object and no system call inside the walks, which run without the GIL.  What an
 * entry points at is checked again: it has been through Python.
 * The slow twin, and oracle, is tests/support/match_twin.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#include "../_blocks.h"
#include "_entries.h"

#define MOST_RUNS 4096

/* pcap's classic format, in nanoseconds: the head of a record */
#define CLASSIC_HEADER 16u
#define SECOND 1000000000u

static int
compare(const void *one, const void *other)
{
    const struct entry *a = one, *b = other;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static PyObject *
py_order(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer entries;
    unsigned long long newest, window;

    if (!PyArg_ParseTuple(args, "w*KK", &entries, &newest, &window))
        return NULL;
    struct entry *each = entries.buf;
    size_t count = (size_t)entries.len / sizeof *each;
    unsigned long long late = 0;
    uint64_t before = 0;
    bool ascending = true;
    for (size_t i = 0; i < count; i++) {
        if (each[i].key > newest)
            newest = each[i].key;
        uint64_t oldest = newest > window ? newest - window : 0;
        if (each[i].key < oldest) {
            each[i].key = oldest;
            late++;
        }
        ascending &= each[i].key >= before;
        before = each[i].key;
    }
    if (!ascending)
        qsort(each, count, sizeof *each, compare);
    PyBuffer_Release(&entries);
    return Py_BuildValue("KK", newest, late);
}

/* Entries of one ring whose blocks are in `content`, in the order of their keys. */
struct run {
    Py_buffer content;
    Py_buffer entries;
    size_t at;
    size_t count;
    uint32_t interface;
};

struct merge {
    struct run *runs;
    Py_ssize_t length;
    uint64_t up_to; /* keys below this one */
    uint64_t most;  /* packets */
    uint64_t packets;
    uint32_t snaplen;
    bool classic;
    uint8_t *out;
    size_t room;
    size_t end;
};

static const struct entry *
head_of(const struct run *run)
{
    return run->at < run->count ? (const struct entry *)run->entries.buf + run->at : NULL;
}

static void
put32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}

static size_t
put_classic(const struct merge *merge, const struct packet_block *packet, uint8_t *out)
{
    uint32_t kept = packet->captured < merge->snaplen ? packet->captured : merge->snaplen;
    put32(out, (uint32_t)(packet->stamp / SECOND));
    put32(out + 4, (uint32_t)(packet->stamp % SECOND));
    put32(out + 8, kept);
    put32(out + 12, packet->original);
    memcpy(out + CLASSIC_HEADER, packet->data, kept);
    return CLASSIC_HEADER + kept;
}

/* The block with less of the packet in it; its options stay. */
static size_t
put_cut(const struct merge *merge, const struct packet_block *packet, const uint8_t *block,
        uint32_t length, uint8_t *out)
{
    uint32_t padded = (packet->captured + 3) & ~3u, kept = (merge->snaplen + 3) & ~3u;
    uint32_t options = length - TRAILER - EPB_HEADER - padded;
    uint32_t shorter = EPB_HEADER + kept + options + TRAILER;
    memcpy(out, block, EPB_HEADER + merge->snaplen);
    memset(out + EPB_HEADER + merge->snaplen, 0, kept - merge->snaplen);
    memcpy(out + EPB_HEADER + kept, packet->data + padded, options);
    put32(out + 4, shorter);
    put32(out + 20, merge->snaplen);
    put32(out + shorter - TRAILER, shorter);
    return shorter;
}

/* The record of an entry, if it is a packet's block of the content: Python passed both. */
static bool
put_record(struct merge *merge, const struct run *run, const struct entry *entry)
{
    const uint8_t *content = run->content.buf;
    size_t size = (size_t)run->content.len;
    struct packet_block packet;
    uint32_t type, length;
    if (entry->offset > size ||
        check_block(content, size, entry->offset, &type, &length) != NONE ||
        type != BLOCK_EPB || length != entry->length ||
        !read_packet(content + entry->offset, length, &packet))
        return false;
    const uint8_t *block = content + entry->offset;
    uint8_t *out = merge->out + merge->end;
    if (merge->classic) {
        merge->end += put_classic(merge, &packet, out);
        return true;
    }
    size_t written = length;
    if (packet.captured > merge->snaplen)
        written = put_cut(merge, &packet, block, length, out);
    else
        memcpy(out, block, length);
    put32(out + 8, run->interface);
    merge->end += written;
    return true;
}

/* The run whose head comes first, and the key before which it may go on alone. */
static struct run *
first_run(const struct merge *merge, uint64_t *alone)
{
    struct run *first = NULL;
    uint64_t least = 0;
    *alone = merge->up_to;
    for (Py_ssize_t i = 0; i < merge->length; i++) {
        const struct entry *head = head_of(&merge->runs[i]);
        if (head == NULL || head->key >= merge->up_to)
            continue;
        if (first == NULL || head->key < least) {
            if (first != NULL && least < *alone)
                *alone = least;
            first = &merge->runs[i];
            least = head->key;
        } else if (head->key < *alone) {
            *alone = head->key;
        }
    }
    return first;
}

/* Until nothing is left, `out` is full or there are enough.  false: an entry was none. */
static bool
merge_runs(struct merge *merge)
{
    uint64_t alone;
    struct run *run;
    while (merge->packets < merge->most && (run = first_run(merge, &alone)) != NULL) {
        const struct entry *entry = head_of(run);
        do {
            if (merge->room - merge->end < (size_t)entry->length + CLASSIC_HEADER)
                return true;
            if (!put_record(merge, run, entry))
                return false;
            merge->packets++;
            run->at++;
            entry = head_of(run);
        } while (entry != NULL && entry->key < alone && merge->packets < merge->most);
    }
    return true;
}

static bool
take_run(struct run *run, PyObject *item)
{
    Py_ssize_t at;
    if (!PyTuple_Check(item) ||
        !PyArg_ParseTuple(item, "y*y*nI", &run->content, &run->entries, &at, &run->interface))
        return false;
    run->count = (size_t)run->entries.len / sizeof(struct entry);
    run->at = at < 0 ? run->count : (size_t)at;
    return true;
}

static PyObject *
merged(struct merge *merge)
{
    bool sound;
    Py_BEGIN_ALLOW_THREADS /* a MiB is copied */
    sound = merge_runs(merge);
    Py_END_ALLOW_THREADS
    if (!sound) {
        PyErr_SetString(PyExc_ValueError, "an entry is not of its content");
        return NULL;
    }
    PyObject *places = PyTuple_New(merge->length);
    for (Py_ssize_t i = 0; places != NULL && i < merge->length; i++) {
        PyObject *place = PyLong_FromSize_t(merge->runs[i].at);
        if (place == NULL)
            Py_CLEAR(places);
        else
            PyTuple_SET_ITEM(places, i, place);
    }
    if (places == NULL)
        return NULL;
    return Py_BuildValue("nKN", (Py_ssize_t)merge->end, (unsigned long long)merge->packets, places);
}

static PyObject *
py_merge(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *list, *result = NULL;
    Py_buffer out;
    unsigned long long up_to, most;
    unsigned int snaplen;
    int classic;

    if (!PyArg_ParseTuple(args, "O!Kw*IpK", &PyList_Type, &list, &up_to, &out, &snaplen, &classic,
                          &most))
        return NULL;
    struct merge merge = {
        .up_to = up_to,
        .most = most,
        .snaplen = snaplen,
        .classic = classic,
        .out = out.buf,
        .room = (size_t)out.len,
    };
    Py_ssize_t wanted = PyList_GET_SIZE(list);
    merge.runs = PyMem_RawCalloc((size_t)wanted + 1, sizeof *merge.runs);
    if (wanted > MOST_RUNS || merge.runs == NULL) {
        PyErr_SetString(PyExc_ValueError, "too many runs");
        wanted = 0;
    }
    while (merge.length < wanted &&
           take_run(&merge.runs[merge.length], PyList_GET_ITEM(list, merge.length)))
        merge.length++;
    if (!PyErr_Occurred())
        result = merged(&merge);
    for (Py_ssize_t i = 0; i < merge.length; i++) {
        PyBuffer_Release(&merge.runs[i].content);
        PyBuffer_Release(&merge.runs[i].entries);
    }
    PyMem_RawFree(merge.runs);
    PyBuffer_Release(&out);
    return result;
}

static PyMethodDef methods[] = {
    {"order", py_order, METH_VARARGS, NULL},
    {"merge", py_merge, METH_VARARGS, NULL},
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
    .m_name = "capd.query._merge",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__merge(void)
{
    return PyModuleDef_Init(&module);
}
