#include "git/access.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

enum { ACCESS_MAX = 4 << 20, FIELDS = 6 };

/* "name length\n", the bytes, "\n"; then the next. */
static const char *const names[FIELDS] = {"user",        "token", "ssh_key",
                                          "known_hosts", "ca",    "internet"};

static char **field(struct git_access *access, size_t i)
{
    char **const fields[FIELDS] = {&access->user,        &access->token, &access->ssh_key,
                                   &access->known_hosts, &access->ca,    &access->internet};
    return fields[i];
}

static void wipe(struct buf *bytes)
{
    explicit_bzero(bytes->data, bytes->len);
    buf_release(bytes);
}

int git_access_write(const struct git_access *access, struct err *err)
{
    struct buf out;
    buf_init(&out, ACCESS_MAX);
    struct git_access copy = *access;
    int status = 0;
    for (size_t i = 0; i < FIELDS && status == 0; i++) {
        const char *value = *field(&copy, i);
        if (value)
            status = buf_appendf(&out, "%s %zu\n%s\n", names[i], strlen(value), value);
    }
    status = status < 0 ? err_set(err, ERR_LIMIT, "keys and certificates are too large")
                        : io_memfd("access", out.data, out.len, err);
    wipe(&out);
    return status;
}

/* One field from *AT, which moves behind it. */
static int read_field(struct git_access *access, char **at, const char *end)
{
    char *name = *at, *space = strchr(name, ' '), *newline = strchr(name, '\n');
    int64_t len;
    if (!space || !newline || space > newline)
        return -EINVAL;
    *space = *newline = '\0';
    if (str_parse_int(space + 1, 0, end - newline - 2, &len) < 0 || newline[1 + len] != '\n')
        return -EINVAL;
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(names[i], name) || *field(access, i))
            continue;
        *field(access, i) = str_format("%.*s", (int)len, newline + 1);
        *at = newline + 2 + len;
        return 0;
    }
    return -EINVAL;
}

int git_access_read(int fd, struct git_access *access, struct err *err)
{
    struct buf bytes;
    *access = (struct git_access){0};
    buf_init(&bytes, ACCESS_MAX);
    int status = lseek(fd, 0, SEEK_SET) < 0 ? err_errno(err, "cannot read the access")
                                            : io_read_all(fd, &bytes, err);
    char *at = bytes.data, *end = bytes.data + bytes.len;
    while (status == 0 && at < end)
        if (read_field(access, &at, end) < 0)
            status = err_set(err, ERR_PROTOCOL, "malformed access");
    wipe(&bytes);
    return status;
}

void git_access_release(struct git_access *access)
{
    for (size_t i = 0; i < FIELDS; i++) {
        char **text = field(access, i);
        if (*text)
            explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}
