/*
 * Any bytes as blocks of a segment, searched by `_match.match` with any program, and what it found
 * put into order and written by `_merge`.
 *
 * What must hold: an entry is a packet of the content in the range of time, without a program
 * every such packet is one, and all that are due are written, as whole records.
 * With entries in the input, which are no match's, `_merge` takes or refuses them.
 */

#include "harness.h"

#define ENTRY 16u
#define INSTRUCTION 8u
#define ETHERNET 1u
#define CLASSIC 2u
#define FEW 4u
#define EVERYTHING UINT64_MAX

PyMODINIT_FUNC PyInit__match(void);
PyMODINIT_FUNC PyInit__merge(void);

struct arguments {
    uint64_t since;
    uint64_t until;
    uint64_t up_to;
    uint64_t window;
    uint32_t snaplen;
    uint16_t start;
    uint16_t cut; /* bytes behind the limit */
    uint8_t instructions;
    uint8_t entries;
    uint8_t flags;
    uint8_t most;
};

struct answer {
    Py_ssize_t end, behind;
    int fault;
    word packets, newest, undirected;
    PyObject *entries;
};

static PyObject *match, *order, *merge;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyImport_AppendInittab("_match", PyInit__match);
    PyImport_AppendInittab("_merge", PyInit__merge);
    start_python();
    match = function_of("_match", "match");
    order = function_of("_merge", "order");
    merge = function_of("_merge", "merge");
    return 0;
}

static uint64_t
stamp_of(const uint8_t *block)
{
    return (uint64_t)get32(block + 12) << 32 | get32(block + 16);
}

static uint64_t
key_of(const char *entry)
{
    uint64_t key;
    memcpy(&key, entry, sizeof key);
    return key;
}

static void
check_entries(const uint8_t *content, const struct arguments *given, const struct answer *got,
              bool program)
{
    const char *entries = PyByteArray_AS_STRING(got->entries);
    size_t count = (size_t)PyByteArray_GET_SIZE(got->entries) / ENTRY, found = 0;
    word packets = 0;
    for (size_t at = given->start; at < (size_t)got->end; at += get32(content + at + 4)) {
        if (get32(content + at) != 6)
            continue;
        uint64_t stamp = stamp_of(content + at);
        bool within = stamp >= given->since && stamp < given->until;
        packets++;
        EXPECT(stamp <= got->newest);
        if (found < count && get32((const uint8_t *)entries + found * ENTRY + 8) == at) {
            EXPECT(within && key_of(entries + found * ENTRY) == stamp);
            EXPECT(get32((const uint8_t *)entries + found * ENTRY + 12) == get32(content + at + 4));
            found++;
        } else {
            EXPECT(program || !within);
        }
    }
    EXPECT(found == count && packets == got->packets);
    EXPECT(count + got->undirected <= packets);
}

/* What the match gave, its entries in order; NULL: it took no such arguments. */
static PyObject *
searched(PyObject *view, const struct arguments *given, const uint8_t *code, size_t length)
{
    Py_buffer *content = PyMemoryView_GET_BUFFER(view);
    Py_ssize_t limit = content->len - given->cut;
    PyObject *result = PyObject_CallFunction(
        match, "Onniy#KK", view, (Py_ssize_t)given->start, limit, (int)(given->flags & ETHERNET),
        (const char *)code, (Py_ssize_t)length, (word)given->since, (word)given->until);
    struct answer got;
    PyObject *entries = NULL;
    if (answered(result, "nniKKKO", &got.end, &got.behind, &got.fault, &got.packets, &got.newest,
                 &got.undirected, &got.entries)) {
        EXPECT(given->start <= got.behind && got.behind <= got.end && got.end <= limit);
        EXPECT((got.fault == 0) == (got.end == limit));
        check_entries(content->buf, given, &got, length > 0);
        entries = Py_NewRef(got.entries);
        PyObject *told = PyObject_CallFunction(order, "OKK", entries, (word)0, (word)given->window);
        EXPECT(told != NULL);
        Py_DECREF(told);
    }
    Py_XDECREF(result);
    return entries;
}

static word
due_of(PyObject *entries, uint64_t up_to)
{
    const char *each = PyByteArray_AS_STRING(entries);
    word due = 0;
    uint64_t before = 0;
    for (Py_ssize_t at = 0; at + ENTRY <= PyByteArray_GET_SIZE(entries); at += ENTRY) {
        uint64_t key = key_of(each + at);
        EXPECT(key >= before);
        before = key;
        due += key < up_to;
    }
    return due;
}

/* Whole records, and how many they are. */
static word
count_records(const uint8_t *out, size_t size, const struct arguments *given)
{
    word records = 0;
    for (size_t at = 0, length; at < size; at += length, records++) {
        bool classic = given->flags & CLASSIC;
        EXPECT(size - at >= (classic ? 16 : 32));
        uint32_t captured = get32(out + at + (classic ? 8 : 20));
        EXPECT(captured <= given->snaplen && captured <= get32(out + at + (classic ? 12 : 24)));
        length = classic ? 16 + (size_t)captured : get32(out + at + 4);
        EXPECT(length <= size - at);
        if (classic)
            EXPECT(get32(out + at + 4) < 1000000000u);
        else
            EXPECT(get32(out + at) == 6 && get32(out + at + 8) < 2 && length % 4 == 0 &&
                   get32(out + at + length - 4) == length && length >= 32 + (size_t)captured);
    }
    return records;
}

/* For all of their records; foreign ones may say any length. */
static size_t
room_for(PyObject *entries, bool sound)
{
    const uint8_t *each = (const uint8_t *)PyByteArray_AS_STRING(entries);
    size_t room = 16;
    for (Py_ssize_t at = 0; at + ENTRY <= PyByteArray_GET_SIZE(entries); at += ENTRY)
        room += 16 + get32(each + at + 12) % (sound ? UINT32_MAX : 4096);
    return room;
}

static void
merged(PyObject *view, PyObject *one, PyObject *other, const struct arguments *given, bool sound)
{
    size_t room = room_for(one, sound) + room_for(other, sound);
    word most = given->flags & FEW ? given->most : EVERYTHING;
    uint8_t *memory = filled(room);
    PyObject *out = view_of(memory, room), *places;
    PyObject *result = PyObject_CallFunction(
        merge, "[(OOnI)(OOnI)]KOIiK", view, one, (Py_ssize_t)0, 0u, view, other, (Py_ssize_t)0, 1u,
        (word)given->up_to, out, (unsigned)given->snaplen, (int)(given->flags & CLASSIC), most);
    Py_ssize_t size;
    word packets;
    if (answered(result, "nKO", &size, &packets, &places)) {
        EXPECT(size >= 0 && (size_t)size <= room && packets <= most);
        EXPECT(count_records(memory, (size_t)size, given) == packets);
        for (size_t i = (size_t)size; i < room && sound; i++)
            EXPECT(memory[i] == FILL);
        if (sound) {
            word due = due_of(one, given->up_to) + due_of(other, given->up_to);
            EXPECT(packets == (due < most ? due : most));
        }
    } else {
        EXPECT(!sound);
    }
    Py_XDECREF(result);
    Py_DECREF(out);
    free(memory);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arguments given;
    if (size < sizeof given)
        return 0;
    memcpy(&given, data, sizeof given);
    size_t code = given.instructions * INSTRUCTION, foreign = given.entries * (size_t)ENTRY;
    if (size - sizeof given < code + foreign)
        return 0;
    const uint8_t *program = data + sizeof given;
    size_t length = size - sizeof given - code - foreign;
    uint8_t *content = copy_of(program + code + foreign, length);
    PyObject *view = view_of(content, length);
    PyObject *one = searched(view, &given, program, code);
    PyObject *other = searched(view, &given, program, 0);
    if (foreign > 0) {
        Py_XDECREF(one);
        Py_XDECREF(other);
        one = PyByteArray_FromStringAndSize((const char *)program + code, (Py_ssize_t)foreign);
        other = PyByteArray_FromStringAndSize(NULL, 0);
    }
    if (one != NULL && other != NULL)
        merged(view, one, other, &given, foreign == 0);
    EXPECT(length == 0 || memcmp(content, program + code + foreign, length) == 0);
    Py_XDECREF(one);
    Py_XDECREF(other);
    Py_DECREF(view);
    free(content);
    return 0;
}
