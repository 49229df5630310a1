#include "task/id.h"

#include <string.h>

#include "base/str.h"

static const char prefix[] = "task-";
enum { PREFIX_LEN = sizeof prefix - 1, NEW_LEN = 8, MIN_LEN = 6, MAX_LEN = 16 };

void task_id_new(char out[TASK_ID_SIZE])
{
    memcpy(out, prefix, PREFIX_LEN);
    str_random_id(out + PREFIX_LEN, NEW_LEN);
}

bool task_id_valid(const char *s)
{
    if (!str_starts_with(s, prefix))
        return false;
    s += PREFIX_LEN;
    size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789");
    return len >= MIN_LEN && len <= MAX_LEN && !s[len];
}
