#include "agent/repeat.h"

#include <stdbool.h>
#include <string.h>

#include "base/fnv.h"

/* Waiting for a long build is the same call again and again too: calls that take their time may be
 * repeated longer (200 waits of 10 s are half an hour without a sign of life). */
static const struct limits {
    unsigned tell, stop;
} quick_limits = {5, 10}, slow_limits = {30, 200};

enum { SLOW_MS = 5000 };

static uint64_t hash_byte(uint64_t hash, unsigned char byte)
{
    return fnv_add(hash, &byte, 1);
}

static uint64_t hash_bytes(uint64_t hash, struct json_span bytes, bool without_numbers)
{
    bool in_number = false;
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.at[i];
        bool digit = without_numbers && ((c >= '0' && c <= '9') || (in_number && c == '.'));
        if (!digit || !in_number)
            hash = hash_byte(hash, digit ? '0' : (unsigned char)c);
        in_number = digit;
    }
    return hash_byte(hash, 0);
}

enum repeat_verdict repeat_note(struct repeat *repeat, const char *name, struct json_span arguments,
                                struct json_span output, int64_t duration_ms)
{
    uint64_t signature = fnv_start;
    signature = hash_bytes(signature, (struct json_span){name, strlen(name)}, false);
    signature = hash_bytes(signature, arguments, false);
    signature = hash_bytes(signature, output, true);

    const struct limits *limits = duration_ms >= SLOW_MS ? &slow_limits : &quick_limits;
    enum repeat_verdict verdict = REPEAT_NONE;
    bool found = false;
    for (unsigned n = 1; n <= REPEAT_CYCLE_MAX; n++) {
        bool same = repeat->count >= n && repeat->last[n - 1] == signature;
        repeat->runs[n] = same ? repeat->runs[n] + 1 : 0;
        if (found || repeat->runs[n] < n)
            continue;
        found = true; /* a cycle of 1 is one of 2 as well: the shortest counts */
        repeat->times = repeat->runs[n] / n + 1;
        if (repeat->times >= limits->stop)
            verdict = REPEAT_STOP;
        else if (repeat->times == limits->tell && repeat->runs[n] % n == 0)
            verdict = REPEAT_TELL;
    }
    memmove(repeat->last + 1, repeat->last, sizeof repeat->last - sizeof repeat->last[0]);
    repeat->last[0] = signature;
    repeat->count++;
    return verdict;
}
