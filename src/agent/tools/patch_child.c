#include "agent/tools/patch_child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/tools/patch_apply.h"
#include "agent/user.h"
#include "base/io.h"

enum {
    TEXT_MAX_BYTES = 40000, /* 10,000 tokens: what a model is shown of any output */
    CPU_SECONDS = 30,       /* for many thousand lines that nearly fit everywhere */
};

static void put(struct buf *report, char type, const char *bytes, size_t len)
{
    struct patch_frame frame = {type, (uint32_t)len};
    buf_append(report, &frame, sizeof frame);
    buf_append(report, bytes, len);
}

static void put_text(struct buf *report, bool ok, const struct patch *patch,
                     struct patch_progress *progress)
{
    struct buf *text = &progress->text;
    if (!ok && progress->done) {
        buf_append_str(text, "Done before that, and not undone:\n");
        for (size_t i = 0; i < progress->done; i++) {
            struct slice path = patch_op_path(&patch->ops[i]);
            buf_appendf(text, "%c %.*s\n", patch_op_letter(&patch->ops[i]), (int)path.len, path.at);
        }
    }
    put(report, ok ? PATCH_FRAME_OK : PATCH_FRAME_FAILED, text->data, text->len);
}

static void apply(struct slice text, const char *base, struct buf *report)
{
    struct patch patch;
    struct patch_progress progress = {0};
    buf_init(&progress.text, TEXT_MAX_BYTES);
    int status = patch_parse(&patch, text.at, text.len, &progress.text);
    if (status == 0)
        status = patch_apply(&patch, base, &progress);
    for (size_t i = 0; i < progress.done; i++) {
        struct slice path = patch_op_path(&patch.ops[i]);
        put(report, patch_op_letter(&patch.ops[i]), path.at, path.len);
    }
    put_text(report, status == 0, &patch, &progress);
}

_Noreturn void patch_child(const struct tool_host *host, const char *base, struct slice patch,
                           int fd)
{
    const struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTERM, SIG_IGN); /* a write is not to be cut in the middle: patch_run_stop() */
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* None of the agent's descriptors is any of the user's business. */
    if (dup2(fd, 0) < 0 || syscall(SYS_close_range, 1U, ~0U, 0U) < 0)
        _exit(127);
    setrlimit(RLIMIT_CPU, &cpu);
    umask(022);
    struct buf report;
    struct err err;
    buf_init(&report, PATCH_REPORT_MAX_BYTES);
    int status = user_become(host);
    if (status == 0 && prctl(PR_SET_DUMPABLE, 0) == 0) {
        apply(patch, base, &report);
    } else {
        static const char why[] = "apply_patch cannot become the sandbox's user\n";
        put(&report, PATCH_FRAME_FAILED, why, sizeof why - 1);
    }
    io_write_all(0, report.data, report.len, &err);
    _exit(0);
}
