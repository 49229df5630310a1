/* Rust, Go, Ruby, PHP and what runs on Java. */
#include <string.h>

#include "base/cleanup.h"
#include "workspace/deps_each.h"

bool deps_cargo(const struct deps_place *place)
{
    if (!deps_has(place, "Cargo.toml"))
        return false;
    if (deps_has(place, "Cargo.lock"))
        deps_add(place, "Cargo.lock", "cargo fetch --locked");
    else if (!place->covered)
        deps_add(place, "Cargo.toml", "cargo fetch");
    return true;
}

/* go.sum is the lock file: a module without one needs nothing from elsewhere. */
bool deps_go(const struct deps_place *place)
{
    if (!deps_has(place, "go.mod"))
        return false;
    if (deps_has(place, "go.sum"))
        deps_add(place, "go.sum", "go mod download");
    return true;
}

bool deps_bundler(const struct deps_place *place)
{
    if (!deps_has(place, "Gemfile"))
        return false;
    const char *get = deps_get_first(place, "bundle", "gem install bundler && ");
    if (deps_has(place, "Gemfile.lock"))
        deps_add(place, "Gemfile.lock", "%sBUNDLE_FROZEN=true bundle install", get);
    else if (!place->covered)
        deps_add(place, "Gemfile", "%sbundle install", get);
    return true;
}

bool deps_composer(const struct deps_place *place)
{
    if (!deps_has(place, "composer.json"))
        return false;
    if (deps_has(place, "composer.lock"))
        deps_add(place, "composer.lock", "composer install --no-interaction");
    else if (!place->covered)
        deps_add(place, "composer.json", "composer update --no-interaction");
    return true;
}

bool deps_maven(const struct deps_place *place)
{
    if (place->covered || !deps_has(place, "pom.xml"))
        return false;
    deps_add(place, "pom.xml", "%s --batch-mode --quiet dependency:go-offline",
             deps_has(place, "mvnw") ? "sh ./mvnw" : "mvn");
    return true;
}

bool deps_gradle(const struct deps_place *place)
{
    static const char *const names[] = {"settings.gradle", "settings.gradle.kts", "build.gradle",
                                        "build.gradle.kts"};
    for (size_t i = 0; !place->covered && i < sizeof names / sizeof names[0]; i++)
        if (deps_has(place, names[i])) {
            deps_add(place, names[i], "%s --no-daemon --quiet testClasses",
                     deps_has(place, "gradlew") ? "sh ./gradlew" : "gradle");
            return true;
        }
    return false;
}
