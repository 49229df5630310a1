#include "runner/copy.h"

#include <errno.h>
#include <sha2.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/io.h"

enum { COPY_CHUNK = 65536 };

struct copy {
    int in, out;
    struct loop_source *source; /* NULL: ended */
    uint64_t size_bytes, max_bytes;
    SHA2_CTX hash;
    bool complete;
    struct err err; /* code 0: none */
    char chunk[COPY_CHUNK];
};

/* Whoever still writes shall not wait for a reader that does not come. */
static void end(struct copy *copy)
{
    loop_remove(copy->source);
    copy->source = NULL;
    if (copy->in >= 0)
        close(copy->in);
    copy->in = -1;
}

static void on_readable(void *arg, uint32_t events)
{
    struct copy *copy = arg;
    ssize_t n = read(copy->in, copy->chunk, sizeof copy->chunk);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0)
        err_errno(&copy->err, "cannot read from the sandbox");
    else if (n == 0)
        copy->complete = true;
    else if ((uint64_t)n > copy->max_bytes - copy->size_bytes)
        err_set(&copy->err, ERR_LIMIT, "larger than %llu bytes",
                (unsigned long long)copy->max_bytes);
    else if (io_write_all(copy->out, copy->chunk, (size_t)n, &copy->err) == 0) {
        SHA256Update(&copy->hash, (const uint8_t *)copy->chunk, (size_t)n);
        copy->size_bytes += (uint64_t)n;
        return;
    }
    end(copy);
}

struct copy *copy_start(struct loop *loop, int in, int out, uint64_t max_bytes, struct err *err)
{
    struct copy *copy = malloc(sizeof *copy);
    if (!copy)
        abort();
    copy->in = in;
    copy->out = out;
    copy->size_bytes = 0;
    copy->max_bytes = max_bytes;
    copy->complete = false;
    copy->err.code = 0;
    SHA256Init(&copy->hash);
    copy->source = NULL;
    if (ftruncate(out, 0) < 0 || lseek(out, 0, SEEK_SET) < 0)
        err_errno(err, "cannot empty a file");
    else
        copy->source = loop_add_fd(loop, in, EPOLLIN, on_readable, copy, err);
    if (copy->source)
        return copy;
    close(in);
    free(copy);
    return NULL;
}

bool copy_has_ended(const struct copy *copy)
{
    return !copy->source;
}

int copy_finish(struct copy *copy, struct copy_result *result, struct err *err)
{
    end(copy);
    if (copy->complete && fsync(copy->out) < 0) {
        copy->complete = false;
        err_errno(&copy->err, "cannot sync a file");
    }
    int status = 0;
    if (copy->complete) {
        result->size_bytes = copy->size_bytes;
        SHA256Final(result->sha256, &copy->hash);
    } else {
        status = copy->err.code ? err_set(err, copy->err.code, "%s", copy->err.message)
                                : err_set(err, -EPIPE, "it was cut short");
        if (ftruncate(copy->out, 0) < 0)
            err_context(err, "cannot empty a file");
    }
    free(copy);
    return status;
}
