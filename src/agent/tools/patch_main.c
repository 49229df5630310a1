#include "agent/tools/patch_main.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/tools/patch_apply.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_BAD_PATCH = 2 };

static int usage(void)
{
    fprintf(stderr, "Usage: apply_patch 'PATCH'\n       echo 'PATCH' | apply_patch\n");
    return EXIT_BAD_PATCH;
}

static int apply(const char *bytes, size_t len)
{
    char base[PATH_MAX];
    if (!getcwd(base, sizeof base)) {
        perror("Error: Failed to determine current directory");
        return EXIT_FAILED;
    }
    struct patch patch;
    struct patch_progress progress = {0};
    buf_init(&progress.text, PATCH_MAX_BYTES);
    int exit_status = EXIT_DONE;
    if (patch_parse(&patch, bytes, len, &progress.text) < 0) {
        exit_status = EXIT_BAD_PATCH;
        buf_append_char(&progress.text, '\n');
    } else if (patch_apply(&patch, base, &progress) < 0) {
        exit_status = EXIT_FAILED;
    }
    patch_release(&patch);
    int out = exit_status == EXIT_DONE ? STDOUT_FILENO : STDERR_FILENO;
    struct err err;
    if (io_write_all(out, progress.text.data, progress.text.len, &err) < 0)
        exit_status = exit_status ? exit_status : EXIT_FAILED;
    buf_release(&progress.text);
    return exit_status;
}

int patch_main(int argc, char **argv)
{
    if (argc > 2) {
        fprintf(stderr, "Error: apply_patch accepts exactly one PATCH argument.\n");
        return EXIT_BAD_PATCH;
    }
    if (argc == 2)
        return apply(argv[1], strlen(argv[1]));
    AUTO_BUF struct buf input;
    buf_init(&input, PATCH_MAX_BYTES + 1); /* one more, for the parser to say: too large */
    struct err err;
    int status = io_read_all(STDIN_FILENO, &input, &err);
    if (status < 0 && input.len <= PATCH_MAX_BYTES) {
        fprintf(stderr, "Error: Failed to read PATCH from stdin.\n%s\n", err.message);
        return EXIT_FAILED;
    }
    return input.len ? apply(input.data, input.len) : usage();
}
