#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t clock_real_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

void clock_rfc3339(int64_t real_ms, char *out)
{
    time_t seconds = (time_t)(real_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03uZ", (unsigned)(real_ms % 1000) % 1000);
}

/* The digits behind a point, to milliseconds; *REST is what follows. Negative without a digit. */
static int parse_fraction(const char *s, const char **rest)
{
    int ms = 0, unit = 100;
    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    for (; isdigit((unsigned char)*s); s++, unit /= 10)
        ms += (*s - '0') * unit;
    *rest = s;
    return ms;
}

int64_t clock_parse_rfc3339(const char *s)
{
    struct tm tm = {0};
    const char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    int fraction = 0;
    if (rest && *rest == '.')
        fraction = parse_fraction(rest + 1, &rest);
    if (!rest || fraction < 0 || strcmp(rest, "Z"))
        return -EINVAL;
    int64_t seconds = timegm(&tm);
    return seconds < 0 ? -EINVAL : seconds * 1000 + fraction;
}

int64_t clock_parse_duration_ms(const char *s)
{
    static const int64_t max_ms = 30LL * 24 * 3600 * 1000;
    if (!isdigit((unsigned char)s[0]))
        return -EINVAL;
    errno = 0;
    char *end;
    long long n = strtoll(s, &end, 10);
    if (errno || n <= 0)
        return -EINVAL;
    int64_t unit;
    switch (*end) {
    case '\0':
    case 's':
        unit = 1000;
        break;
    case 'm':
        unit = 60 * 1000;
        break;
    case 'h':
        unit = 3600 * 1000;
        break;
    case 'd':
        unit = 24 * 3600 * 1000;
        break;
    default:
        return -EINVAL;
    }
    if (*end && end[1])
        return -EINVAL;
    return n > max_ms / unit ? -EINVAL : n * unit;
}
