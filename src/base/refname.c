#include "base/refname.h"

#include <string.h>

#include "base/object_id.h"
#include "base/str.h"

/* One component, LEN bytes at PART: what lies between two slashes. */
static const char *component_problem(const char *part, size_t len)
{
    if (len == 0)
        return "begins or ends with '/', or has '//'";
    if (part[0] == '.')
        return "has a component that begins with '.'";
    if (len >= 5 && memcmp(part + len - 5, ".lock", 5) == 0)
        return "has a component that ends with '.lock'";
    return NULL;
}

static const char *character_problem(const char *name)
{
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p <= ' ' || *p == 0x7f || strchr("~^:?*[\\", *p))
            return "has a space, a control character or one of ~^:?*[\\";
    if (strstr(name, ".."))
        return "has '..'";
    if (strstr(name, "@{"))
        return "has '@{'";
    return NULL;
}

static const char *problem(const char *name)
{
    size_t len = strlen(name);
    if (len == 0)
        return "is empty";
    if (len > REFNAME_MAX_BYTES)
        return "is longer than 200 bytes";
    if (name[0] == '-')
        return "begins with '-'";
    if (!strcmp(name, "@") || !strcmp(name, "HEAD"))
        return "is a name that git uses itself";
    if (name[len - 1] == '.')
        return "ends with '.'";
    const char *found = character_problem(name);
    while (!found) {
        const char *slash = strchrnul(name, '/');
        found = component_problem(name, (size_t)(slash - name));
        if (!*slash)
            break;
        name = slash + 1;
    }
    return found;
}

int refname_check_branch(const char *name, struct err *err)
{
    const char *found = problem(name);
    return found ? err_set(err, ERR_USAGE, "branch name '%s' %s", name, found) : 0;
}

bool refname_is_branch(const char *base)
{
    return !str_starts_with(base, "refs/") && !object_id_valid(base);
}
