/*
 * The packets that `_match.c` found and `_merge.c` writes: an array of these is what passes
 * through Python between them.
 */

#ifndef CAPD_ENTRIES_H
#define CAPD_ENTRIES_H

#include <stdint.h>

struct entry {
    uint64_t key; /* the stamp, ns since 1970, until `order` has seen it */
    uint32_t offset; /* of its block in the content that was searched */
    uint32_t length;
};

#endif
