/* Maven and Gradle. */
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/find_each.h"

/* The repository's own WRAPPER if it can be run, else PROGRAM. */
static const char *choose(const char *dir, const char *wrapper, const char *program)
{
    AUTO_FREE char *path = str_format("%s/%s", dir, wrapper);
    return scan_has(dir, wrapper) && access(path, X_OK) == 0 ? wrapper : program;
}

static bool maven_none_ran(int exit_code, const char *output_tail)
{
    return exit_code == 0 && !strstr(output_tail, "Tests run:");
}

void find_java(const struct find_input *input, struct test_plan *plan)
{
    const char *dir = input->dir;
    if (!input->scan->java_tests)
        return;
    if (scan_has(dir, "pom.xml")) {
        plan->found = "pom.xml";
        plan->none_ran = maven_none_ran;
        /* One module's failure does not keep the others from being tested. */
        test_plan_add(plan, choose(dir, "./mvnw", "mvn"), "-B", "-fae", "test", NULL);
    } else if (scan_has(dir, "build.gradle") || scan_has(dir, "build.gradle.kts")) {
        plan->found = "build.gradle";
        test_plan_add(plan, choose(dir, "./gradlew", "gradle"), "--continue", "test", NULL);
    }
}
