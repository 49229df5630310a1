#include "base/refname.h"

#include <string.h>

static bool byte_allowed(unsigned char c)
{
    return c > 0x20 && c != 0x7f && !strchr("~^:?*[\\", c);
}

static bool component_valid(const char *start, size_t len)
{
    static const char lock[] = ".lock";
    size_t lock_len = sizeof lock - 1;
    if (len == 0 || start[0] == '.')
        return false;
    return len < lock_len || memcmp(start + len - lock_len, lock, lock_len) != 0;
}

bool refname_branch_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > REFNAME_BRANCH_MAX || name[0] == '-' || name[len - 1] == '.' ||
        !strcmp(name, "HEAD") || !strcmp(name, "@") || strstr(name, "..") || strstr(name, "@{"))
        return false;
    for (const char *p = name; *p; p++)
        if (!byte_allowed((unsigned char)*p))
            return false;
    for (const char *start = name;;) {
        size_t part = strcspn(start, "/");
        if (!component_valid(start, part))
            return false;
        if (!start[part])
            return true;
        start += part + 1;
    }
}

bool refname_sha_valid(const char *sha)
{
    return strlen(sha) == GIT_SHA_LEN && strspn(sha, "0123456789abcdef") == GIT_SHA_LEN;
}
