/*
 * Perl's prove, file by file:
 *
 *     t/a.t .. ok
 *     t/b.t ..
 *     Failed 1/4 subtests
 *     t/c.t .. skipped: why
 *     Files=3, Tests=7,  1 wallclock secs ( … )
 */
#include <stdio.h>
#include <string.h>

#include "workspace/reader.h"

enum { NAME_MAX_BYTES = 1024 };

struct prove {
    size_t files;
    char file[NAME_MAX_BYTES]; /* whose outcome is still to come */
};

static void resolve(struct prove *self, struct reading *reading, enum test_status status)
{
    if (self->file[0])
        reading_add(reading, status, self->file, strlen(self->file));
    self->file[0] = '\0';
}

/* What is behind "t/a.t .. "; NULL when LINE is none such. */
static const char *take_file(const char *text, size_t *len)
{
    const char *dots = strstr(text, " ..");
    if (!dots || dots == text || memchr(text, ' ', (size_t)(dots - text)))
        return NULL;
    *len = (size_t)(dots - text);
    const char *p = dots + 1 + strspn(dots + 1, ".");
    if (*p && *p != ' ')
        return NULL;
    take_space(&p);
    return !*p || !strcmp(p, "ok") || !strncmp(p, "skipped", 7) ? p : NULL;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct prove *self = state;
    size_t len, n;
    const char *p = text, *said = take_file(text, &len);
    if (said && len < NAME_MAX_BYTES) {
        resolve(self, reading, TEST_CASE_FAILED);
        snprintf(self->file, sizeof self->file, "%.*s", (int)len, text);
        self->files++;
        if (*said)
            resolve(self, reading, *said == 'o' ? TEST_CASE_PASSED : TEST_CASE_SKIPPED);
    } else if (!strcmp(text, "ok")) {
        resolve(self, reading, TEST_CASE_PASSED);
    } else if (take_word(&p, "Files=") && take_number(&p, &n) && take_word(&p, ", Tests=")) {
        resolve(self, reading, TEST_CASE_FAILED);
        reading->seen = true;
        reading->broken |= n != self->files;
        *self = (struct prove){0};
    }
}

static void end(void *state, struct reading *reading)
{
}

const struct reader reader_prove = {sizeof(struct prove), line, end, NULL};
