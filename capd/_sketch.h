/*
 * What the packets of a section have in them, collected while they are walked:
 * _dissect.c reads the packets and notes, _sketch.c keeps the notes and encodes them.
 */

#ifndef CAPD_SKETCH_H
#define CAPD_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKETCH_ROOM 8192u  /* the most bytes of a sketch */
#define MOST_KEYS 16384u   /* prefixes of addresses; beyond them the filter answers "perhaps" */
#define KEY_SLOTS 32768u   /* twice as many: a power of two, and never full */
#define PAIRS_V4 4096u     /* powers of two */
#define PAIRS_V6 512u
#define PAIR_V6_BYTES 32u
#define NUMBERS 65536u     /* ports, EtherTypes */

struct sketch {
    uint32_t keys;
    bool tagged;
    bool fragmented;
    bool types_unknown;
    uint64_t protocols[256 / 64];
    uint64_t ports[NUMBERS / 64];
    uint64_t types[NUMBERS / 64];
    uint64_t pairs_v4[PAIRS_V4]; /* source and destination, noted already */
    uint8_t pairs_v6[PAIRS_V6][PAIR_V6_BYTES];
    uint64_t slots[KEY_SLOTS]; /* 0: free */
    uint8_t out[SKETCH_ROOM];
};

static inline void
note_number(uint64_t *set, unsigned number)
{
    set[number / 64] |= (uint64_t)1 << number % 64;
}

/* An IPv4 address, in the machine's order. */
void note_v4(struct sketch *sketch, uint32_t address);

/* An IPv6 address of which `captured` bytes are there, 16 or fewer. */
void note_v6(struct sketch *sketch, const uint8_t *address, size_t captured);

/* Whether packets of this LINKTYPE_* can be read at all. */
bool can_sketch(int link_type);

/* One packet.  Nothing outside of its captured bytes is read. */
void sketch_packet(struct sketch *sketch, int link_type, const uint8_t *data, size_t captured);

/* Writes `out`; gives the length. */
size_t encode_sketch(struct sketch *sketch);

#endif
