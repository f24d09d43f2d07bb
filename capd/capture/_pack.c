/*
 * capd.capture._pack: what Python cannot do to a packet ring.
 *
 *   pack        walks one retired block and writes pcapng Enhanced Packet Blocks
 *   retired     loads a block's status with acquire
 *   release     stores a block's status with release: the kernel may fill it again
 *   statistics  lets the kernel write PACKET_STATISTICS into mapped memory
 *   publish     stores 64 bits with release
 *   die_with_parent  asks for a signal when the parent goes (ctypes takes 4 ms to import)
 *
 * A block is untrusted: every offset and length in it is checked before it is used.
 * The block is only read, so it can be packed again after a kill at any moment.
 * No allocation, no Python object and no system call inside the walk, which runs
 * without the GIL.  Layouts: <linux/if_packet.h>; draft-ietf-opsawg-pcapng 4.3.
 * The slow twin of pack, and its oracle, is tests/support/twin.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define MAX_CAPLEN 262144u /* libpcap refuses files with more in one packet */
#define MAC_ADDRESSES 12u  /* the outer VLAN tag stood behind them */
#define VLAN_TAG 4u
#define DEFAULT_TPID 0x8100u
#define PREFETCH_AHEAD 2048u
#define CACHE_LINE 64u

#define EPB_TYPE 6u
#define EPB_HEADER 28u
#define EPB_TRAILER 4u
#define EPB_FLAGS_OPTIONS 12u /* epb_flags and opt_endofopt */
#define EPB_FLAGS_CODE 2u
#define FLAGS_INBOUND 1u
#define FLAGS_OUTBOUND 2u
#define FLAGS_CHECKSUM_NOT_READY (1u << 9)
#define FLAGS_CHECKSUM_VALID (1u << 10)
#define FLAGS_TCP_SEGMENTATION_OFFLOAD (1u << 11)

#ifndef TP_STATUS_GSO_TCP /* since Linux 5.16; Debian 12's header lacks it */
#define TP_STATUS_GSO_TCP (1u << 8)
#endif

#define SOCKADDR_OFFSET TPACKET_ALIGN(sizeof(struct tpacket3_hdr))
#define LEAST_RECORD (SOCKADDR_OFFSET + sizeof(struct sockaddr_ll))

struct walk {
    const uint8_t *block;
    size_t block_size;
    uint8_t *out;
    size_t out_size;
    size_t end; /* bytes of `out` in use */
    uint32_t snaplen;
    bool record_direction;
    uint64_t since; /* packets stamped before, or from `until` on, are another ring's */
    uint64_t until;
    uint64_t packets;
    uint64_t malformed;
    uint64_t clamped;
    uint64_t overlap;
    uint64_t first; /* smallest and largest stamp, ns since 1970 */
    uint64_t last;
};

static void
put32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}

/* epb_flags: direction, how it was addressed (PACKET_HOST .. PACKET_OTHERHOST), checksum. */
static uint32_t
packet_flags(uint32_t status, uint8_t type)
{
    static const uint8_t reception[] = {1, 3, 2, 4}; /* unicast, broadcast, multicast, promiscuous */
    uint32_t flags = type == PACKET_OUTGOING ? FLAGS_OUTBOUND : FLAGS_INBOUND;

    if (type < sizeof reception)
        flags |= (uint32_t)reception[type] << 2;
    if (status & TP_STATUS_CSUMNOTREADY)
        flags |= FLAGS_CHECKSUM_NOT_READY;
    if (status & TP_STATUS_CSUM_VALID)
        flags |= FLAGS_CHECKSUM_VALID;
    if (status & TP_STATUS_GSO_TCP)
        flags |= FLAGS_TCP_SEGMENTATION_OFFLOAD;
    return flags;
}

/* Appends one packet, if it is whole and fits.  `room`: what the block holds from the header on. */
static void
pack_packet(struct walk *walk, const uint8_t *record, size_t room)
{
    struct tpacket3_hdr header;
    memcpy(&header, record, sizeof header);

    size_t stored = header.tp_snaplen;
    if (header.tp_mac < LEAST_RECORD || header.tp_mac > room || stored > room - header.tp_mac)
        return;

    bool tagged = (header.tp_status & TP_STATUS_VLAN_VALID) && stored >= MAC_ADDRESSES;
    uint32_t tag = tagged ? VLAN_TAG : 0;
    size_t captured = stored + tag > MAX_CAPLEN ? MAX_CAPLEN : stored + tag;
    uint32_t original = header.tp_len > UINT32_MAX - tag ? UINT32_MAX : header.tp_len + tag;
    if (original < captured) /* pcapng does not allow it */
        return;

    uint64_t stamp = (uint64_t)header.tp_sec * 1000000000u + header.tp_nsec;
    if (stamp < walk->since || stamp >= walk->until) {
        walk->overlap++;
        return;
    }

    size_t padded = (captured + 3) & ~(size_t)3;
    size_t options = walk->record_direction ? EPB_FLAGS_OPTIONS : 0;
    size_t length = EPB_HEADER + padded + options + EPB_TRAILER;
    if (length > walk->out_size - walk->end)
        return;

    uint8_t *out = walk->out + walk->end;
    put32(out, EPB_TYPE);
    put32(out + 4, (uint32_t)length);
    put32(out + 8, 0); /* the only interface */
    put32(out + 12, (uint32_t)(stamp >> 32));
    put32(out + 16, (uint32_t)stamp);
    put32(out + 20, (uint32_t)captured);
    put32(out + 24, original);
    if (padded > 0)
        put32(out + EPB_HEADER + padded - 4, 0); /* the padding; data covers the rest of it */

    uint8_t *data = out + EPB_HEADER;
    const uint8_t *frame = record + header.tp_mac;
    if (tagged) {
        bool has_tpid = header.tp_status & TP_STATUS_VLAN_TPID_VALID;
        uint16_t tpid = __builtin_bswap16(has_tpid ? header.hv1.tp_vlan_tpid : DEFAULT_TPID);
        uint16_t tci = __builtin_bswap16((uint16_t)header.hv1.tp_vlan_tci);
        memcpy(data, frame, MAC_ADDRESSES);
        memcpy(data + MAC_ADDRESSES, &tpid, sizeof tpid);
        memcpy(data + MAC_ADDRESSES + 2, &tci, sizeof tci);
        memcpy(data + MAC_ADDRESSES + VLAN_TAG, frame + MAC_ADDRESSES,
               captured - MAC_ADDRESSES - VLAN_TAG);
    } else {
        memcpy(data, frame, captured);
    }

    uint8_t *tail = data + padded;
    if (options) {
        uint8_t type = record[SOCKADDR_OFFSET + offsetof(struct sockaddr_ll, sll_pkttype)];
        put32(tail, EPB_FLAGS_CODE | 4u << 16);
        put32(tail + 4, packet_flags(header.tp_status, type));
        put32(tail + 8, 0);
        tail += options;
    }
    put32(tail, (uint32_t)length);

    uint32_t wanted = header.tp_len < walk->snaplen ? header.tp_len : walk->snaplen;
    walk->clamped += captured - tag < wanted;
    walk->end += length;
    walk->packets++;
    if (stamp < walk->first)
        walk->first = stamp;
    if (stamp > walk->last)
        walk->last = stamp;
}

/*
 * Copying is bound by memory, and the hardware's prefetcher stops at every page: ask for
 * what comes after this packet while it is copied (700-byte packets: 150 -> 75 ns each).
 */
static void
prefetch(const uint8_t *from, const uint8_t *to, size_t length)
{
    for (size_t i = 0; i < length && i < PREFETCH_AHEAD; i += CACHE_LINE) {
        __builtin_prefetch(from + PREFETCH_AHEAD + i);
        __builtin_prefetch(to + PREFETCH_AHEAD + i, 1);
    }
}

/*
 * Follows the chain of headers.  A packet that does not fit is skipped; a link that leads
 * outside or backwards ends the walk.  What was announced and not written is malformed.
 */
static void
walk_block(struct walk *walk)
{
    struct tpacket_hdr_v1 head;
    memcpy(&head, walk->block + offsetof(struct tpacket_block_desc, hdr), sizeof head);

    uint64_t most = walk->block_size / LEAST_RECORD; /* a count that lies is not believed */
    uint64_t announced = head.num_pkts < most ? head.num_pkts : most;
    uint64_t before = walk->packets + walk->overlap;
    size_t at = head.offset_to_first_pkt;
    uint32_t next = 0;

    for (uint64_t i = 0; i < announced; i++) {
        if (at < sizeof(struct tpacket_block_desc) || at > walk->block_size ||
            walk->block_size - at < LEAST_RECORD)
            break;
        const uint8_t *record = walk->block + at;
        memcpy(&next, record, sizeof next); /* tp_next_offset */
        prefetch(record, walk->out + walk->end, next);
        pack_packet(walk, record, walk->block_size - at);
        if (next < LEAST_RECORD) /* 0 ends the chain */
            break;
        at += next;
    }
    walk->malformed += announced - (walk->packets + walk->overlap - before);
}

/* The memory of an object from `offset` on, at least `size` bytes of it; NULL sets ValueError. */
static uint8_t *
memory_at(const Py_buffer *view, Py_ssize_t offset, Py_ssize_t size, Py_ssize_t align)
{
    if (offset < 0 || size < 0 || offset > view->len || view->len - offset < size ||
        ((uintptr_t)view->buf + (uintptr_t)offset) % (uintptr_t)align != 0) {
        PyErr_SetString(PyExc_ValueError, "outside of the buffer, or not aligned");
        return NULL;
    }
    return (uint8_t *)view->buf + offset;
}

static PyObject *
py_pack(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer ring, staging;
    Py_ssize_t block_offset, block_size, start;
    unsigned int snaplen;
    int record_direction;
    unsigned long long since, until;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*nnw*nIpKK", &ring, &block_offset, &block_size, &staging, &start,
                          &snaplen, &record_direction, &since, &until))
        return NULL;
    if (block_size < (Py_ssize_t)sizeof(struct tpacket_block_desc))
        block_size = -1; /* no block is so small */
    const uint8_t *block = memory_at(&ring, block_offset, block_size, 8);
    if (block != NULL && memory_at(&staging, start, 0, 1) != NULL) {
        struct walk walk = {
            .block = block,
            .block_size = (size_t)block_size,
            .out = staging.buf,
            .out_size = (size_t)staging.len,
            .end = (size_t)start,
            .snaplen = snaplen,
            .record_direction = record_direction,
            .since = since,
            .until = until,
            .first = UINT64_MAX,
        };
        Py_BEGIN_ALLOW_THREADS /* up to 4 MiB are copied: a millisecond */
        walk_block(&walk);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("nKKKKKK", (Py_ssize_t)walk.end, (unsigned long long)walk.packets,
                               (unsigned long long)walk.malformed,
                               (unsigned long long)walk.clamped, (unsigned long long)walk.first,
                               (unsigned long long)walk.last,
                               (unsigned long long)walk.overlap);
    }
    PyBuffer_Release(&ring);
    PyBuffer_Release(&staging);
    return result;
}

static uint32_t *
block_status(const Py_buffer *ring, Py_ssize_t block_offset)
{
    Py_ssize_t least = sizeof(struct tpacket_block_desc);
    uint8_t *block = memory_at(ring, block_offset, least, sizeof(uint64_t));
    if (block == NULL)
        return NULL;
    return (uint32_t *)(block + offsetof(struct tpacket_block_desc, hdr.bh1.block_status));
}

static PyObject *
py_retired(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer ring;
    Py_ssize_t block_offset;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*n", &ring, &block_offset))
        return NULL;
    const uint32_t *status = block_status(&ring, block_offset);
    if (status != NULL)
        result = PyBool_FromLong(__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER);
    PyBuffer_Release(&ring);
    return result;
}

static PyObject *
py_release(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer ring;
    Py_ssize_t block_offset;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "w*n", &ring, &block_offset))
        return NULL;
    uint32_t *status = block_status(&ring, block_offset);
    if (status != NULL) {
        __atomic_store_n(status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&ring);
    return result;
}

static PyObject *
py_statistics(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer page;
    Py_ssize_t offset;
    int fd;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "iw*n", &fd, &page, &offset))
        return NULL;
    socklen_t length = sizeof(struct tpacket_stats_v3);
    void *to = memory_at(&page, offset, length, sizeof(uint32_t));
    if (to != NULL) {
        if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, to, &length) == 0)
            result = Py_NewRef(Py_None);
        else
            PyErr_SetFromErrno(PyExc_OSError);
    }
    PyBuffer_Release(&page);
    return result;
}

static PyObject *
py_publish(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer page;
    Py_ssize_t offset;
    unsigned long long value;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "w*nK", &page, &offset, &value))
        return NULL;
    uint64_t *to = (uint64_t *)memory_at(&page, offset, sizeof(uint64_t), sizeof(uint64_t));
    if (to != NULL) {
        __atomic_store_n(to, (uint64_t)value, __ATOMIC_RELEASE);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&page);
    return result;
}

static PyObject *
py_die_with_parent(PyObject *Py_UNUSED(module), PyObject *args)
{
    int signal;

    if (!PyArg_ParseTuple(args, "i", &signal))
        return NULL;
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0ul, 0ul, 0ul) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"pack", py_pack, METH_VARARGS, NULL},
    {"retired", py_retired, METH_VARARGS, NULL},
    {"release", py_release, METH_VARARGS, NULL},
    {"statistics", py_statistics, METH_VARARGS, NULL},
    {"publish", py_publish, METH_VARARGS, NULL},
    {"die_with_parent", py_die_with_parent, METH_VARARGS, NULL},
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
    .m_name = "capd.capture._pack",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__pack(void)
{
    return PyModuleDef_Init(&module);
}
