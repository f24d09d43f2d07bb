/*
 * Any bytes as a block of a ring, packed by `_pack.pack`.
 *
 * What must hold: nothing but the announced bytes is written, they are whole blocks that add up to
 * the counts, and every packet that the block announces is in exactly one of them.
 */

#include "harness.h"

#define ANNOUNCED_AT 12u
#define LEAST_RECORD 68u
#define LEAST_BLOCK 48u
#define OPTIONS 12u

PyMODINIT_FUNC PyInit__pack(void);

struct arguments {
    uint64_t since;
    uint64_t until;
    uint32_t snaplen;
    uint16_t room;
    uint8_t start;
    uint8_t direction;
};

struct answer {
    Py_ssize_t end;
    word packets, malformed, clamped, first, last, overlap;
};

static PyObject *pack;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyImport_AppendInittab("_pack", PyInit__pack);
    start_python();
    pack = function_of("_pack", "pack");
    return 0;
}

static void
check_record(const uint8_t *record, size_t left, bool direction)
{
    EXPECT(left >= 32 && get32(record) == 6 && get32(record + 8) == 0);
    uint32_t length = get32(record + 4), captured = get32(record + 20);
    EXPECT(length % 4 == 0 && length <= left && get32(record + length - 4) == length);
    EXPECT(captured <= 262144 && captured <= get32(record + 24));
    uint32_t padded = (captured + 3) & ~3u;
    EXPECT(length == 32 + padded + (direction ? OPTIONS : 0));
    for (uint32_t i = captured; i < padded; i++)
        EXPECT(record[28 + i] == 0);
    if (direction)
        EXPECT(get32(record + 28 + padded) == (2 | 4u << 16) && get32(record + 36 + padded) == 0);
}

static void
check_written(const uint8_t *written, size_t size, const struct arguments *given,
              const struct answer *answer)
{
    uint64_t first = UINT64_MAX, last = 0;
    word packets = 0;
    for (size_t at = 0; at < size; at += get32(written + at + 4), packets++) {
        check_record(written + at, size - at, given->direction & 1);
        uint64_t stamp = (uint64_t)get32(written + at + 12) << 32 | get32(written + at + 16);
        EXPECT(stamp >= given->since && stamp < given->until);
        first = stamp < first ? stamp : first;
        last = stamp > last ? stamp : last;
    }
    EXPECT(packets == answer->packets && answer->clamped <= packets);
    EXPECT(first == answer->first && last == answer->last);
}

static void
check(const uint8_t *content, size_t size, const uint8_t *staging, const struct arguments *given,
      const struct answer *answer)
{
    size_t end = (size_t)answer->end, room = (size_t)given->start + given->room;
    EXPECT(answer->end >= given->start && end <= room);
    for (size_t i = 0; i < room; i++)
        EXPECT((i >= given->start && i < end) || staging[i] == FILL);
    check_written(staging + given->start, end - given->start, given, answer);
    word announced = get32(content + ANNOUNCED_AT), most = size / LEAST_RECORD;
    announced = announced < most ? announced : most;
    EXPECT(answer->packets + answer->malformed + answer->overlap == announced);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arguments given;
    if (size < sizeof given)
        return 0;
    memcpy(&given, data, sizeof given);
    data += sizeof given;
    size -= sizeof given;
    size_t room = (size_t)given.start + given.room;
    uint8_t *block = copy_of(data, size), *staging = filled(room);
    PyObject *ring = view_of(block, size), *out = view_of(staging, room);
    PyObject *result =
        PyObject_CallFunction(pack, "OnnOnIiKK", ring, (Py_ssize_t)0, (Py_ssize_t)size, out,
                              (Py_ssize_t)given.start, (unsigned)given.snaplen,
                              given.direction & 1, (word)given.since, (word)given.until);
    struct answer got;
    if (answered(result, "nKKKKKK", &got.end, &got.packets, &got.malformed, &got.clamped,
                 &got.first, &got.last, &got.overlap))
        check(block, size, staging, &given, &got);
    else
        EXPECT(size < LEAST_BLOCK);
    EXPECT(size == 0 || memcmp(block, data, size) == 0);
    Py_XDECREF(result);
    Py_DECREF(ring);
    Py_DECREF(out);
    free(staging);
    free(block);
    return 0;
}
