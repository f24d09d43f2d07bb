/*
 * capd._survey, the sketch: sets of what was noted, and their bytes.
 *
 * The format is documented in capd/sketch.py, which reads it: hashes, kinds of parts and
 * the way bits are chosen must be the same there.  A set that grew beyond what is worth
 * keeping is left out, which means "anything"; what was noted is never forgotten.
 */

#include "_sketch.h"

#include <string.h>

#define VERSION 1u
#define PART_HEADER 4u

#define PART_FLAGS 1u
#define PART_PROTOCOLS 2u
#define PART_TYPES 3u
#define PART_LOW_PORTS 4u
#define PART_PORT_LIST 5u
#define PART_PORT_FILTER 6u
#define PART_ADDRESSES 7u

#define FLAG_TAGGED 1u
#define FLAG_FRAGMENTED 2u

#define MOST_TYPES 64u
#define LOW_PORTS 1024u       /* services: exact, whatever the load */
#define MOST_LISTED_PORTS 512u
#define MOST_PORTS 8192u
#define PORT_FILTER_BYTES 2048u
#define PORT_KEY 256u /* where a key of an address has the length of its prefix */

#define BITS_A_KEY 10u /* 1 % wrong answers, as long as there is room */
#define MOST_PROBES 7u

/* splitmix64's finalizer; 0 stands for a free slot. */
static uint64_t
hash(uint64_t word)
{
    word ^= word >> 30;
    word *= 0xBF58476D1CE4E5B9u;
    word ^= word >> 27;
    word *= 0x94D049BB133111EBu;
    word ^= word >> 31;
    return word == 0 ? 1 : word;
}

static uint64_t
key(uint32_t kind, uint32_t value)
{
    return hash((uint64_t)kind << 32 | value);
}

static uint64_t
key_v6(unsigned prefix, uint64_t high, uint64_t low)
{
    high &= prefix < 64 ? UINT64_MAX << (64 - prefix) : UINT64_MAX;
    low = prefix > 64 ? low : 0; /* 128 is the only one */
    return hash(hash(high ^ (uint64_t)prefix << 8) ^ low);
}

static void
add_key(struct sketch *sketch, uint64_t hashed)
{
    size_t at = hashed % KEY_SLOTS;
    while (sketch->slots[at] != 0) {
        if (sketch->slots[at] == hashed)
            return;
        at = (at + 1) % KEY_SLOTS;
    }
    sketch->slots[at] = hashed;
    sketch->keys++;
}

/*
 * All prefixes each time, also when the whole address is there: another one, made to have the
 * same key, must not keep them out, because a reader asks for each.
 */
void
note_v4(struct sketch *sketch, uint32_t address)
{
    if (sketch->keys > MOST_KEYS)
        return;
    for (unsigned prefix = 8; prefix <= 32; prefix += 8)
        add_key(sketch, key(prefix, address & UINT32_MAX << (32 - prefix)));
}

/* A filter compares words of four bytes: a prefix can match when its words are there. */
void
note_v6(struct sketch *sketch, const uint8_t *address, size_t captured)
{
    uint64_t words[2] = {0, 0};
    memcpy(words, address, captured < 16 ? captured : 16);
    uint64_t high = __builtin_bswap64(words[0]), low = __builtin_bswap64(words[1]);

    if (sketch->keys > MOST_KEYS || captured < 4)
        return;
    if (captured >= 16)
        add_key(sketch, key_v6(128, high, low));
    add_key(sketch, key_v6(32, high, 0));
    if (captured >= 8) {
        add_key(sketch, key_v6(48, high, 0));
        add_key(sketch, key_v6(64, high, 0));
    }
}

static void
put16(uint8_t *to, uint16_t value)
{
    memcpy(to, &value, sizeof value);
}

/* Begins a part of `length` bytes, all zero; gives its place. */
static uint8_t *
begin_part(struct sketch *sketch, size_t *end, uint16_t kind, size_t length)
{
    uint8_t *part = sketch->out + *end;
    put16(part, kind);
    put16(part + 2, (uint16_t)length);
    memset(part + PART_HEADER, 0, length);
    *end += PART_HEADER + length;
    return part + PART_HEADER;
}

static unsigned
count_numbers(const uint64_t *set, unsigned from)
{
    unsigned count = 0;
    for (unsigned i = from / 64; i < NUMBERS / 64; i++)
        count += (unsigned)__builtin_popcountll(set[i]);
    return count;
}

/* The next number of the set at or behind `from`, which there must be. */
static unsigned
next_number(const uint64_t *set, unsigned from)
{
    unsigned i = from / 64;
    uint64_t word = set[i] & UINT64_MAX << from % 64;
    while (word == 0)
        word = set[++i];
    return i * 64 + (unsigned)__builtin_ctzll(word);
}

static void
put_list(struct sketch *sketch, size_t *end, uint16_t kind, const uint64_t *set, unsigned from,
         unsigned count)
{
    uint8_t *part = begin_part(sketch, end, kind, (size_t)count * 2);
    for (unsigned i = 0; i < count; i++) {
        unsigned number = next_number(set, from);
        put16(part + (size_t)i * 2, (uint16_t)number);
        from = number + 1;
    }
}

/* A Bloom filter: the number of probes in a byte, then the bits. */
struct filter {
    uint8_t *bits;
    uint32_t size; /* in bits */
    unsigned probes;
};

static struct filter
begin_filter(struct sketch *sketch, size_t *end, uint16_t kind, uint32_t keys, size_t room)
{
    size_t bytes = ((size_t)keys * BITS_A_KEY + 7) / 8;
    if (bytes > room)
        bytes = room;
    uint8_t *part = begin_part(sketch, end, kind, 1 + bytes);
    struct filter filter = {.bits = part + 1, .size = (uint32_t)bytes * 8};
    if (keys > 0) { /* ln 2 probes for each bit that a key has */
        unsigned probes = (filter.size * 693u / keys + 500) / 1000;
        filter.probes = probes < 1 ? 1 : probes > MOST_PROBES ? MOST_PROBES : probes;
    }
    part[0] = (uint8_t)filter.probes;
    return filter;
}

static void
put_key(struct filter *filter, uint64_t hashed)
{
    uint32_t at = (uint32_t)hashed, step = (uint32_t)(hashed >> 32) | 1;
    for (unsigned i = 0; i < filter->probes; i++, at += step) {
        uint32_t bit = (uint32_t)((uint64_t)at * filter->size >> 32);
        filter->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static void
put_ports(struct sketch *sketch, size_t *end)
{
    memcpy(begin_part(sketch, end, PART_LOW_PORTS, LOW_PORTS / 8), sketch->ports, LOW_PORTS / 8);
    unsigned count = count_numbers(sketch->ports, LOW_PORTS);
    if (count <= MOST_LISTED_PORTS) {
        put_list(sketch, end, PART_PORT_LIST, sketch->ports, LOW_PORTS, count);
    } else if (count <= MOST_PORTS) {
        struct filter filter =
            begin_filter(sketch, end, PART_PORT_FILTER, count, PORT_FILTER_BYTES);
        for (unsigned port = LOW_PORTS; count > 0; port++, count--) {
            port = next_number(sketch->ports, port);
            put_key(&filter, key(PORT_KEY, port));
        }
    }
}

size_t
encode_sketch(struct sketch *sketch)
{
    size_t end = 4;
    put16(sketch->out, VERSION);
    put16(sketch->out + 2, 0);

    *begin_part(sketch, &end, PART_FLAGS, 1) = (uint8_t)((sketch->tagged ? FLAG_TAGGED : 0) |
                                                 (sketch->fragmented ? FLAG_FRAGMENTED : 0));
    memcpy(begin_part(sketch, &end, PART_PROTOCOLS, sizeof sketch->protocols), sketch->protocols,
           sizeof sketch->protocols);
    unsigned types = count_numbers(sketch->types, 0);
    if (types <= MOST_TYPES && !sketch->types_unknown)
        put_list(sketch, &end, PART_TYPES, sketch->types, 0, types);
    put_ports(sketch, &end);
    if (sketch->keys <= MOST_KEYS) {
        size_t room = SKETCH_ROOM - end - PART_HEADER - 1;
        struct filter filter = begin_filter(sketch, &end, PART_ADDRESSES, sketch->keys, room);
        for (size_t i = 0; i < KEY_SLOTS; i++)
            if (sketch->slots[i] != 0)
                put_key(&filter, sketch->slots[i]);
    }
    return end;
}
