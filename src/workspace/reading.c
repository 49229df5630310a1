#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "workspace/reader.h"

enum { NUMBER_MAX = 1000000, LONG_NAME_MAX = 32768 };

bool take_word(const char **at, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(*at, word, len) != 0)
        return false;
    *at += len;
    return true;
}

bool take_number(const char **at, size_t *out)
{
    size_t digits = strspn(*at, "0123456789"), value = 0;
    for (size_t i = 0; i < digits; i++)
        value = value >= NUMBER_MAX ? NUMBER_MAX : value * 10 + (size_t)((*at)[i] - '0');
    *at += digits;
    *out = value;
    return digits > 0;
}

size_t take_space(const char **at)
{
    size_t len = strspn(*at, " \t");
    *at += len;
    return len;
}

bool drop_end(const char *line, size_t *len, const char *word)
{
    size_t n = strlen(word);
    if (*len < n || memcmp(line + *len - n, word, n) != 0)
        return false;
    *len -= n;
    return true;
}

bool drop_duration(const char *line, size_t *len)
{
    size_t n = *len;
    bool bracket = drop_end(line, &n, ")");
    if (!drop_end(line, &n, "ms") && !drop_end(line, &n, "s") && !drop_end(line, &n, "m"))
        return false;
    drop_end(line, &n, " ");
    size_t digits = n;
    while (n && strchr("0123456789.", line[n - 1]))
        n--;
    if (n == digits || (bracket && !drop_end(line, &n, "(")) || !drop_end(line, &n, " "))
        return false;
    *len = n;
    return true;
}

void reading_add(struct reading *reading, enum test_status status, const char *name, size_t len)
{
    test_list_add(&reading->list, status, name, len);
}

void reading_addf(struct reading *reading, enum test_status status, const char *format, ...)
{
    char name[LONG_NAME_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (len > 0)
        reading_add(reading, status, name,
                    (size_t)len < sizeof name ? (size_t)len : sizeof name - 1);
}

void tally_add(struct tally *tally, enum test_status status)
{
    tally->passed += status == TEST_CASE_PASSED;
    tally->failed += status == TEST_CASE_FAILED;
    tally->skipped += status == TEST_CASE_SKIPPED;
}

void tally_check(struct tally *tally, const struct tally *said, struct reading *reading)
{
    reading->broken |= tally->passed != said->passed || tally->failed != said->failed ||
                       tally->skipped != said->skipped;
    *tally = (struct tally){0};
}

void titles_set(struct titles *titles, size_t depth, const char *title, size_t len)
{
    if (depth >= TITLES_MAX)
        return;
    snprintf(titles->at[depth], TITLE_MAX, "%.*s", (int)(len < TITLE_MAX ? len : TITLE_MAX - 1),
             title);
    for (size_t i = depth + 1; i < TITLES_MAX; i++)
        titles->at[i][0] = '\0';
}

void titles_add(const struct titles *titles, size_t depth, struct reading *reading,
                enum test_status status, const char *name, size_t len)
{
    AUTO_BUF struct buf whole;
    buf_init(&whole, TITLES_MAX * (TITLE_MAX + 3) + LONG_NAME_MAX);
    for (size_t i = 0; i < depth && i < TITLES_MAX; i++)
        if (titles->at[i][0])
            buf_appendf(&whole, "%s > ", titles->at[i]);
    buf_append(&whole, name, len);
    reading_add(reading, status, whole.data, whole.len);
}
