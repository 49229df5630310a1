#include <stdio.h>

#include <jansson.h>

#include "cli/fields.h"
#include "cli/verb.h"

struct version_options {
    struct common_options common;
};

static int run_version(const void *options, const char *const *arguments, int count,
                       struct err *err)
{
    const struct version_options *version = options;
    if (version->common.json) {
        json_t *answer = json_pack("{s:s}", "version", CODEX_VERSION);
        json_print(answer);
        json_decref(answer);
    } else {
        puts("codex " CODEX_VERSION);
    }
    return EXIT_OK;
}

const struct verb verb_version = {
    .name = "version",
    .summary = "the version of this program",
    .arguments = "",
    .examples = "  codex version --json\n",
    .options_size = sizeof(struct version_options),
    .run = run_version,
};
