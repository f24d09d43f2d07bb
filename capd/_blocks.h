/*
 * What the walks over a segment's pcapng blocks have in common: layouts, and whether a block
 * is one that capd writes.
 *
 * The bytes are untrusted, and may be changed by another process while they are read: every
 * length is read once and checked before it is used.
 * Layouts: draft-ietf-opsawg-pcapng 4.1 to 4.6.  What capd writes: capd/pcapng.py and
 * capd/capture/_pack.c; one section, one interface, this machine's byte order, nanoseconds.
 */

#ifndef CAPD_BLOCKS_H
#define CAPD_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK_ISB 5u
#define BLOCK_EPB 6u
#define LOCAL_USE 0x80000000u

#define LEAST_BLOCK 12u
#define LEAST_EPB 32u
#define EPB_HEADER 28u
#define TRAILER 4u
#define MAX_CAPLEN 262144u
#define MAX_BLOCK (LEAST_EPB + MAX_CAPLEN + 65536u) /* a packet and 64 KiB of options */
#define MAX_LOCAL (4u << 20)                        /* padding, of any page or block size */

#define OPT_ENDOFOPT 0u
#define EPB_FLAGS 2u

enum fault { NONE, SHORT, BAD };

static inline uint16_t
get16(const uint8_t *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint32_t
get32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint64_t
get64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint64_t
get_stamp(const uint8_t *from)
{
    return (uint64_t)get32(from) << 32 | get32(from + 4);
}

struct option {
    uint16_t code;
    uint16_t length;
    const uint8_t *value;
};

/*
 * The option at `*at`, which moves on behind it.  1: there is one; 0: they are over;
 * -1: it goes on beyond `end`.
 */
static inline int
next_option(const uint8_t **at, const uint8_t *end, struct option *option)
{
    if (*at == end)
        return 0;
    if (end - *at < 4)
        return -1;
    option->code = get16(*at);
    option->length = get16(*at + 2);
    option->value = *at + 4;
    if (option->code == OPT_ENDOFOPT)
        return option->length == 0 ? 0 : -1;
    ptrdiff_t padded = (option->length + 3) & ~3;
    if (padded > end - option->value)
        return -1;
    *at = option->value + padded;
    return 1;
}

/* Whether the block at `at` is all there and of a length that can be. */
static inline enum fault
check_block(const uint8_t *content, size_t size, size_t at, uint32_t *type, uint32_t *length)
{
    size_t left = size - at;
    if (left < LEAST_BLOCK)
        return SHORT;
    const uint8_t *block = content + at;
    *type = get32(block);
    *length = get32(block + 4);
    if (*length < LEAST_BLOCK || *length % 4 != 0 ||
        *length > (*type & LOCAL_USE ? MAX_LOCAL : MAX_BLOCK))
        return BAD;
    if (*length > left)
        return SHORT;
    return get32(block + *length - TRAILER) == *length ? NONE : BAD;
}

struct packet_block {
    uint64_t stamp; /* ns since 1970 */
    uint32_t captured;
    uint32_t original;
    const uint8_t *data;
    uint32_t flags; /* epb_flags; 0: not recorded */
};

/* An Enhanced Packet Block that `check_block` found whole; false: capd does not write it. */
static inline bool
read_packet(const uint8_t *block, uint32_t length, struct packet_block *packet)
{
    if (length < LEAST_EPB || get32(block + 8) != 0)
        return false;
    packet->captured = get32(block + 20);
    packet->original = get32(block + 24);
    if (packet->captured > MAX_CAPLEN || ((packet->captured + 3) & ~3u) > length - LEAST_EPB ||
        packet->captured > packet->original)
        return false;
    packet->stamp = get_stamp(block + 12);
    packet->data = block + EPB_HEADER;
    packet->flags = 0;
    /* A length that was damaged leaves packet data where options are expected. */
    const uint8_t *at = packet->data + ((packet->captured + 3) & ~3u);
    const uint8_t *end = block + length - TRAILER;
    struct option option;
    int more;
    while ((more = next_option(&at, end, &option)) > 0)
        if (option.code == EPB_FLAGS && option.length == 4)
            packet->flags = get32(option.value);
    return more == 0;
}

#endif
