/*
 * FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): tells things apart that nobody makes
 * alike on purpose.
 */
#ifndef CODEX_BASE_FNV_H
#define CODEX_BASE_FNV_H

#include <stddef.h>
#include <stdint.h>

static const uint64_t fnv_start = 0xcbf29ce484222325ULL;

/* HASH, which begins as fnv_start, with LEN more BYTES in it. */
static inline uint64_t fnv_add(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ULL;
    return hash;
}

#endif
