/*
 * capd.query._match: which packets of a run of blocks a program accepts.
 *
 * A program is libpcap's live code.  It meets each packet as the kernel's filter met it: without
 * its outer VLAN tag, which is in what the program loads as ancillary data; those loads are
 * replaced by constants, which are set for each packet (linux/filter.h, SKF_AD_*).
 *
 * The blocks are untrusted: _blocks.h.  No Python object and no system call inside the walk,
 * which runs without the GIL.  The slow twin, and oracle, is tests/support/match_twin.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pcap/bpf.h>

#include "../_blocks.h"
#include "_entries.h"

#define LINK_ETHERNET 1
#define MAC_ADDRESSES 12u
#define VLAN_TAG 4u
#define TPID_VLAN 0x8100u
#define TPID_SERVICE 0x88A8u

/* <linux/filter.h> */
#define ANCILLARY 0xFFFFF000u
#define ANCILLARY_PACKET_TYPE (ANCILLARY + 4u)
#define ANCILLARY_TAG (ANCILLARY + 44u)
#define ANCILLARY_TAG_PRESENT (ANCILLARY + 48u)
#define PACKET_HOST 0u
#define PACKET_OUTGOING 4u

#define FLAGS_DIRECTION 3u /* epb_flags: inbound 1, outbound 2 */
#define FLAGS_OUTBOUND 2u

#define MOST_INSTRUCTIONS 4096u
#define FIRST_ENTRIES 1024u

struct program {
    struct bpf_insn code[MOST_INSTRUCTIONS];
    uint16_t constants[MOST_INSTRUCTIONS]; /* where an ancillary load was */
    uint32_t ancillary[MOST_INSTRUCTIONS]; /* and of what */
    unsigned length;
    unsigned loads;
    bool asks_direction;
};

struct search {
    const uint8_t *content;
    size_t size;
    size_t end;       /* after the last whole block */
    size_t behind;    /* after the last one that is not padding */
    uint64_t since;
    uint64_t until;
    bool ethernet;
    uint64_t packets;
    uint64_t newest; /* largest stamp */
    uint64_t undirected;
    struct program *program;
    struct entry *entries;
    size_t count;
    size_t room;
    bool no_memory;
    uint8_t stripped[MAX_CAPLEN];
};

static unsigned
get_be16(const uint8_t *from)
{
    return (unsigned)from[0] << 8 | from[1];
}

/* Whether libpcap's interpreter has it: bpf_validate lets others pass, and bpf_filter aborts there. */
static bool
is_instruction(unsigned code)
{
    switch (code) {
    case BPF_LD | BPF_W | BPF_ABS: case BPF_LD | BPF_H | BPF_ABS: case BPF_LD | BPF_B | BPF_ABS:
    case BPF_LD | BPF_W | BPF_IND: case BPF_LD | BPF_H | BPF_IND: case BPF_LD | BPF_B | BPF_IND:
    case BPF_LD | BPF_IMM: case BPF_LD | BPF_MEM: case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_IMM: case BPF_LDX | BPF_MEM: case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_MSH | BPF_B: case BPF_ST: case BPF_STX: case BPF_JMP | BPF_JA:
    case BPF_RET | BPF_K: case BPF_RET | BPF_A: case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
    case BPF_ALU | BPF_NEG:
        return true;
    default:
        break;
    }
    switch (code & ~BPF_X) { /* with a constant, or with the index register */
    case BPF_JMP | BPF_JEQ: case BPF_JMP | BPF_JGT: case BPF_JMP | BPF_JGE: case BPF_JMP | BPF_JSET:
    case BPF_ALU | BPF_ADD: case BPF_ALU | BPF_SUB: case BPF_ALU | BPF_MUL: case BPF_ALU | BPF_DIV:
    case BPF_ALU | BPF_MOD: case BPF_ALU | BPF_AND: case BPF_ALU | BPF_OR: case BPF_ALU | BPF_XOR:
    case BPF_ALU | BPF_LSH: case BPF_ALU | BPF_RSH:
        return true;
    default:
        return false;
    }
}

/* Takes the code over, with constants for ancillary loads.  false: such a thing is not stored. */
static bool
take_program(struct program *program, const void *code, size_t size)
{
    program->length = (unsigned)(size / sizeof(struct bpf_insn));
    memcpy(program->code, code, size);
    for (unsigned i = 0; i < program->length; i++) {
        struct bpf_insn *each = &program->code[i];
        if (!is_instruction(each->code))
            return false;
        /* For bpf_validate it may wrap around, and be a loop; the kernel takes none. */
        if (each->code == (BPF_JMP | BPF_JA) && each->k >= program->length - i - 1)
            return false;
        if (BPF_CLASS(each->code) != BPF_LD || BPF_MODE(each->code) != BPF_ABS ||
            each->k < ANCILLARY)
            continue;
        if (each->k != ANCILLARY_PACKET_TYPE && each->k != ANCILLARY_TAG &&
            each->k != ANCILLARY_TAG_PRESENT)
            return false;
        program->asks_direction |= each->k == ANCILLARY_PACKET_TYPE;
        program->constants[program->loads] = (uint16_t)i;
        program->ancillary[program->loads++] = each->k;
        each->code = BPF_LD | BPF_IMM;
    }
    return program->length == 0 || bpf_validate(program->code, (int)program->length);
}

static void
set_constants(struct program *program, bool tagged, unsigned tag, bool outbound)
{
    for (unsigned i = 0; i < program->loads; i++) {
        uint32_t value = tag;
        if (program->ancillary[i] == ANCILLARY_TAG_PRESENT)
            value = tagged;
        else if (program->ancillary[i] == ANCILLARY_PACKET_TYPE)
            value = outbound ? PACKET_OUTGOING : PACKET_HOST;
        program->code[program->constants[i]].k = value;
    }
}

static bool
accepts(struct search *search, const struct packet_block *packet)
{
    struct program *program = search->program;
    if (program->length == 0)
        return true;
    if (program->asks_direction && (packet->flags & FLAGS_DIRECTION) == 0) {
        search->undirected++;
        return false;
    }
    const uint8_t *data = packet->data;
    uint32_t captured = packet->captured, original = packet->original;
    bool tagged = false;
    unsigned tag = 0;
    if (search->ethernet && captured >= MAC_ADDRESSES + VLAN_TAG) {
        unsigned tpid = get_be16(data + MAC_ADDRESSES);
        tagged = tpid == TPID_VLAN || tpid == TPID_SERVICE;
    }
    if (tagged) {
        tag = get_be16(data + MAC_ADDRESSES + 2);
        captured -= VLAN_TAG;
        original -= VLAN_TAG;
        memcpy(search->stripped, data, MAC_ADDRESSES);
        memcpy(search->stripped + MAC_ADDRESSES, data + MAC_ADDRESSES + VLAN_TAG,
               captured - MAC_ADDRESSES);
        data = search->stripped;
    }
    if (program->loads > 0)
        set_constants(program, tagged, tag, (packet->flags & FLAGS_DIRECTION) == FLAGS_OUTBOUND);
    return bpf_filter(program->code, data, original, captured) != 0;
}

static bool
add_entry(struct search *search, uint64_t stamp, size_t offset, uint32_t length)
{
    if (search->count == search->room) {
        size_t room = search->room == 0 ? FIRST_ENTRIES : search->room * 2;
        struct entry *grown = PyMem_RawRealloc(search->entries, room * sizeof *grown);
        if (grown == NULL) {
            search->no_memory = true;
            return false;
        }
        search->entries = grown;
        search->room = room;
    }
    search->entries[search->count++] =
        (struct entry){.key = stamp, .offset = (uint32_t)offset, .length = length};
    return true;
}

static enum fault
search_blocks(struct search *search)
{
    while (search->end < search->size) {
        const uint8_t *block = search->content + search->end;
        uint32_t type, length;
        enum fault fault =
            check_block(search->content, search->size, search->end, &type, &length);
        if (fault != NONE)
            return fault;
        if (type == BLOCK_EPB) {
            struct packet_block packet;
            if (!read_packet(block, length, &packet))
                return BAD;
            search->packets++;
            if (packet.stamp > search->newest)
                search->newest = packet.stamp;
            if (packet.stamp >= search->since && packet.stamp < search->until &&
                accepts(search, &packet) &&
                !add_entry(search, packet.stamp, search->end, length))
                return NONE;
        } else if (type != BLOCK_ISB && !(type & LOCAL_USE)) {
            return BAD;
        }
        search->end += length;
        if (!(type & LOCAL_USE))
            search->behind = search->end;
    }
    return NONE;
}

static PyObject *
result_of(struct search *search, enum fault fault)
{
    if (search->no_memory)
        return PyErr_NoMemory();
    PyObject *entries = PyByteArray_FromStringAndSize(
        (const char *)search->entries, (Py_ssize_t)(search->count * sizeof *search->entries));
    if (entries == NULL)
        return NULL;
    return Py_BuildValue("nniKKKN", (Py_ssize_t)search->end, (Py_ssize_t)search->behind, (int)fault,
                         (unsigned long long)search->packets, (unsigned long long)search->newest,
                         (unsigned long long)search->undirected, entries);
}

static PyObject *
py_match(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer content, code;
    Py_ssize_t start, limit;
    int link_type;
    unsigned long long since, until;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*nniy*KK", &content, &start, &limit, &link_type, &code, &since,
                          &until))
        return NULL;
    struct search *search = PyMem_RawCalloc(1, sizeof *search);
    struct program *program = PyMem_RawCalloc(1, sizeof *program);
    if (search == NULL || program == NULL) {
        PyErr_NoMemory();
    } else if (start < 0 || start > limit || limit > content.len ||
               (size_t)content.len > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "outside of the content");
    } else if (code.len % (Py_ssize_t)sizeof(struct bpf_insn) != 0 ||
               (size_t)code.len > sizeof program->code ||
               !take_program(program, code.buf, (size_t)code.len)) {
        PyErr_SetString(PyExc_ValueError, "no program, or one that asks for what is not stored");
    } else {
        enum fault fault;
        search->content = content.buf;
        search->size = (size_t)limit;
        search->end = search->behind = (size_t)start;
        search->since = since;
        search->until = until;
        search->ethernet = link_type == LINK_ETHERNET;
        search->program = program;
        Py_BEGIN_ALLOW_THREADS /* some MiB are read: a millisecond */
        fault = search_blocks(search);
        Py_END_ALLOW_THREADS
        result = result_of(search, fault);
    }
    if (search != NULL)
        PyMem_RawFree(search->entries);
    PyMem_RawFree(search);
    PyMem_RawFree(program);
    PyBuffer_Release(&content);
    PyBuffer_Release(&code);
    return result;
}

static PyMethodDef methods[] = {
    {"match", py_match, METH_VARARGS, NULL},
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
    .m_name = "capd.query._match",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__match(void)
{
    return PyModuleDef_Init(&module);
}
