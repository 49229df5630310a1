#include "cli/format.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

void format_duration(int64_t ms, char *out)
{
    long long s = ms > 0 ? ms / 1000 : 0;
    if (s < 10)
        snprintf(out, FORMAT_SIZE, "%lld.%llds", s, ms > 0 ? (long long)ms / 100 % 10 : 0);
    else if (s < 60)
        snprintf(out, FORMAT_SIZE, "%llds", s);
    else if (s < 3600)
        snprintf(out, FORMAT_SIZE, "%lldm%02llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, FORMAT_SIZE, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        snprintf(out, FORMAT_SIZE, "%lldd%02lldh", s / 86400, s / 3600 % 24);
}

void format_age(int64_t ms, char *out)
{
    long long s = ms > 0 ? ms / 1000 : 0;
    if (s < 60)
        snprintf(out, FORMAT_SIZE, "%llds", s);
    else if (s < 3600)
        snprintf(out, FORMAT_SIZE, "%lldm", s / 60);
    else if (s < 86400)
        snprintf(out, FORMAT_SIZE, "%lldh", s / 3600);
    else
        snprintf(out, FORMAT_SIZE, "%lldd", s / 86400);
}

/* N in units of STEP, with one decimal and the unit's name. */
static void format_scaled(int64_t n, int64_t step, const char *const *units, char *out)
{
    int unit = 0;
    double scaled = (double)n;
    /* What would round up to a whole step is shown in the next unit: never "1000.0k". */
    while (scaled >= (double)step - (unit ? 0.05 : 0) && units[unit + 1]) {
        scaled /= (double)step;
        unit++;
    }
    snprintf(out, FORMAT_SIZE, "%.*f%s", unit ? 1 : 0, scaled, units[unit]);
}

void format_count(int64_t n, char *out)
{
    static const char *const units[] = {"", "k", "M", "G", NULL};
    format_scaled(n, 1000, units, out);
}

void format_bytes(int64_t bytes, char *out)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", NULL};
    format_scaled(bytes, 1024, units, out);
}

static bool local(int64_t real_ms, struct tm *tm)
{
    time_t seconds = (time_t)(real_ms / 1000);
    return localtime_r(&seconds, tm) != NULL;
}

void format_time(int64_t real_ms, char *out)
{
    struct tm tm;
    if (!local(real_ms, &tm) || !strftime(out, FORMAT_SIZE, "%H:%M:%S", &tm))
        snprintf(out, FORMAT_SIZE, "?");
}

void format_date(int64_t real_ms, char *out)
{
    struct tm tm;
    if (!local(real_ms, &tm) || !strftime(out, FORMAT_SIZE, "%Y-%m-%d", &tm))
        snprintf(out, FORMAT_SIZE, "?");
}
