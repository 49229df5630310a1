/* Build systems: what they fetch themselves when they are configured. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/deps_each.h"
#include "workspace/makefile.h"

/* Targets by which projects say how to get what they need. "setup" and "install" are not among
 * them: they do more than that. */
bool deps_make(const struct deps_place *place)
{
    static const char *const targets[] = {"deps", "dependencies", "install-deps"};
    AUTO_BUF struct buf text;
    buf_init(&text, MAKEFILE_MAX);
    const char *name = place->covered ? NULL : makefile_read(place->path, &text);
    if (!name)
        return false;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (makefile_has_target(text.data, targets[i])) {
            deps_has(place, name);
            deps_add(place, name, "make %s", targets[i]);
            break;
        }
    return true;
}

/* Configuring is what fetches (FetchContent, ExternalProject); the tests use the same directory. */
bool deps_cmake(const struct deps_place *place)
{
    AUTO_BUF struct buf text;
    buf_init(&text, SCAN_FILE_BYTES);
    if (place->covered || !deps_read(place, "CMakeLists.txt", &text))
        return false;
    if (scan_has_line(text.data, "FetchContent_") || strstr(text.data, "include(FetchContent)") ||
        strstr(text.data, "CPMAddPackage"))
        deps_add(place, "CMakeLists.txt", "cmake -S . -B build-codex");
    return true;
}

static int is_wrap(const struct dirent *entry)
{
    return str_ends_with(entry->d_name, ".wrap");
}

static bool has_wraps(const struct deps_place *place)
{
    AUTO_FREE char *path = str_format("%s/subprojects", place->path);
    struct dirent **entries;
    int count = scandir(path, &entries, is_wrap, NULL);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
    return count > 0;
}

bool deps_meson(const struct deps_place *place)
{
    if (place->covered || !deps_has(place, "meson.build"))
        return false;
    if (has_wraps(place))
        deps_add(place, "meson.build", "meson subprojects download");
    return true;
}
