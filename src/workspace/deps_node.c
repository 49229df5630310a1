#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/deps_each.h"

enum { PACKAGE_JSON_MAX = 4 << 20 };

/* Whether package.json names anything to install. */
static bool has_dependencies(const struct buf *text)
{
    static const char *const members[] = {"dependencies", "devDependencies", "optionalDependencies",
                                          "workspaces"};
    json_error_t error;
    json_t *package = json_loadb(text->data, text->len, 0, &error);
    bool found = false;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const json_t *member = json_object_get(package, members[i]);
        found |= json_object_size(member) > 0 || json_array_size(member) > 0;
    }
    json_decref(package);
    return found;
}

/* Yarn 2 and later have another file of settings, and another name for the same option. */
static const char *yarn_option(const struct deps_place *place)
{
    return deps_has(place, ".yarnrc.yml") ? "--immutable" : "--frozen-lockfile --non-interactive";
}

bool deps_node(const struct deps_place *place)
{
    AUTO_BUF struct buf text;
    buf_init(&text, PACKAGE_JSON_MAX);
    if (!deps_read(place, "package.json", &text))
        return false;
    /* npm's lock file first: who has several has most likely come from another to npm. */
    if (!has_dependencies(&text))
        return true;
    if (deps_has(place, "package-lock.json"))
        deps_add(place, "package-lock.json", "npm ci");
    else if (deps_has(place, "npm-shrinkwrap.json"))
        deps_add(place, "npm-shrinkwrap.json", "npm ci");
    else if (deps_has(place, "pnpm-lock.yaml"))
        deps_add(place, "pnpm-lock.yaml", "%spnpm install --frozen-lockfile",
                 deps_get_first(place, "pnpm", "npm install -g pnpm && "));
    else if (deps_has(place, "yarn.lock"))
        deps_add(place, "yarn.lock", "%syarn install %s",
                 deps_get_first(place, "yarn", "npm install -g yarn && "), yarn_option(place));
    else if (!place->covered)
        deps_add(place, "package.json", "npm install --no-package-lock");
    return true;
}
