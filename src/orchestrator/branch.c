#include "orchestrator/branch.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"

enum { SLUG_MAX = 50 };

/* Words of letters and digits, joined by hyphens: whatever comes in, it is a safe last part of a
 * ref. A word that does not fit whole is left out. */
static void append_slug(struct buf *out, const char *from)
{
    while (*from) {
        while (*from && !isalnum((unsigned char)*from))
            from++;
        size_t len = 0;
        while (isalnum((unsigned char)from[len]))
            len++;
        if (!len)
            return;
        if (out->len && out->len + 1 + len > SLUG_MAX)
            return;
        if (out->len)
            buf_append_char(out, '-');
        for (size_t i = 0; i < len && out->len < SLUG_MAX; i++)
            buf_append_char(out, (char)tolower((unsigned char)from[i]));
        from += len;
    }
}

char *branch_name(const struct task *task, int64_t number)
{
    static const char prefix[] = "feat/";
    if (task->branch_wanted)
        return str_dup(task->branch_wanted);
    const char *offered = task->branch_offered ? task->branch_offered : "";
    if (str_starts_with(offered, prefix))
        offered += strlen(prefix);
    const char *const sources[] = {offered, task->title ? task->title : "", task->prompt, task->id};
    AUTO_BUF struct buf slug;
    buf_init(&slug, SLUG_MAX);
    for (size_t i = 0; !slug.len && i < sizeof sources / sizeof sources[0]; i++)
        append_slug(&slug, sources[i]);
    if (number > 1)
        return str_format("%s%s-%lld", prefix, slug.data, (long long)number);
    return str_format("%s%s", prefix, slug.data);
}
