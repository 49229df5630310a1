#include "workspace/large_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/large_files.h"
#include "git/repository.h"

/* gitprotocol-common(5): four hexadecimal digits of length, themselves included; 0000 is a flush. */
enum { PACKET_HEAD = 4, PACKET_DATA_MAX = 65516 };

enum packet { PACKET_DATA, PACKET_FLUSH, PACKET_END };

struct packet_data {
    char bytes[PACKET_DATA_MAX + 1]; /* a NUL behind them */
    size_t len;
};

/* What git sends of a file: in memory while it may be a pointer, else in a file of ours. */
struct content {
    char head[LARGE_FILE_POINTER_MAX];
    size_t head_len;
    int64_t size;
    int fd; /* -1: all is in HEAD */
    char *path;
    SHA2_CTX hash;
};

static enum packet read_packet(struct packet_data *packet)
{
    char head[PACKET_HEAD + 1] = "";
    char *end;
    packet->len = 0;
    if (fread(head, 1, PACKET_HEAD, stdin) != PACKET_HEAD)
        return PACKET_END;
    unsigned long size = strtoul(head, &end, 16);
    if (*end || size > PACKET_DATA_MAX + PACKET_HEAD)
        return PACKET_END;
    if (size <= PACKET_HEAD)
        return size ? PACKET_DATA : PACKET_FLUSH;
    packet->len = fread(packet->bytes, 1, size - PACKET_HEAD, stdin);
    packet->bytes[packet->len] = '\0';
    return packet->len == size - PACKET_HEAD ? PACKET_DATA : PACKET_END;
}

static void write_packet(const char *bytes, size_t len)
{
    printf("%04zx", len + PACKET_HEAD);
    fwrite(bytes, 1, len, stdout);
}

static void write_line(const char *text)
{
    AUTO_FREE char *line = str_format("%s\n", text);
    write_packet(line, strlen(line));
}

static void write_flush(void)
{
    fputs("0000", stdout);
}

/* Read lines up to a flush. The value of the last that starts with KEY goes to OUT. */
static bool read_lines(struct packet_data *packet, const char *key, char *out, size_t size)
{
    enum packet kind;
    *out = '\0';
    while ((kind = read_packet(packet)) == PACKET_DATA) {
        packet->bytes[strcspn(packet->bytes, "\n")] = '\0';
        if (str_starts_with(packet->bytes, key))
            snprintf(out, size, "%s", packet->bytes + strlen(key));
    }
    return kind == PACKET_FLUSH;
}

static bool greet(struct packet_data *packet)
{
    char version[16], ignored[16];
    if (!read_lines(packet, "version=", version, sizeof version) || strcmp(version, "2") != 0)
        return false;
    write_line("git-filter-server");
    write_line("version=2");
    write_flush();
    fflush(stdout);
    if (!read_lines(packet, "capability=", ignored, sizeof ignored))
        return false;
    write_line("capability=clean");
    write_line("capability=smudge");
    write_flush();
    return fflush(stdout) == 0;
}

static void content_release(struct content *content)
{
    if (content->fd >= 0)
        close(content->fd);
    if (content->path)
        unlink(content->path);
    free(content->path);
}

static int open_file(struct content *content, const char *store, struct err *err)
{
    content->fd = large_file_create(store, &content->path, err);
    return content->fd < 0 ? content->fd
                           : io_write_all(content->fd, content->head, content->head_len, err);
}

static int content_add(struct content *content, const char *store, const char *bytes, size_t len,
                       struct err *err)
{
    SHA256Update(&content->hash, (const uint8_t *)bytes, len);
    content->size += (int64_t)len;
    if (content->fd < 0 && len <= sizeof content->head - content->head_len) {
        memcpy(content->head + content->head_len, bytes, len);
        content->head_len += len;
        return 0;
    }
    int status = content->fd < 0 ? open_file(content, store, err) : 0;
    return status < 0 ? status : io_write_all(content->fd, bytes, len, err);
}

/* All of what git sends, also when there is no room for it. False when git is gone. */
static bool content_read(struct content *content, const char *store, struct packet_data *packet,
                         int *status, struct err *err)
{
    enum packet kind;
    *content = (struct content){.fd = -1};
    SHA256Init(&content->hash);
    *status = 0;
    while ((kind = read_packet(packet)) == PACKET_DATA)
        if (*status == 0)
            *status = content_add(content, store, packet->bytes, packet->len, err);
    return kind == PACKET_FLUSH;
}

static void answer_start(void)
{
    write_line("status=success");
    write_flush();
}

/* STATUS: whether what was sent since is all. */
static void answer_end(int status)
{
    write_flush();
    if (status < 0)
        write_line("status=error");
    write_flush();
}

static void answer_bytes(const char *bytes, size_t len)
{
    answer_start();
    if (len)
        write_packet(bytes, len);
    answer_end(0);
}

static void answer_file(int fd)
{
    char chunk[PACKET_DATA_MAX];
    off_t at = 0;
    ssize_t n;
    answer_start();
    while ((n = pread(fd, chunk, sizeof chunk, at)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0)
            write_packet(chunk, (size_t)n);
        at += n > 0 ? n : 0;
    }
    answer_end(n < 0 ? -errno : 0);
}

static void answer_same(const struct content *content)
{
    if (content->fd < 0)
        answer_bytes(content->head, content->head_len);
    else
        answer_file(content->fd);
}

static bool is_pointer(const struct content *content, struct large_file *file)
{
    return content->fd < 0 && large_file_parse(content->head, content->head_len, file);
}

/* What a pointer stands for, if it is here; all else as it is. */
static void smudge(const struct content *content, const char *store)
{
    struct large_file file;
    AUTO_FD int fd = -1;
    if (is_pointer(content, &file) && large_file_is_stored(store, &file)) {
        AUTO_FREE char *path = large_file_path(store, &file);
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }
    if (fd >= 0)
        answer_file(fd);
    else
        answer_same(content);
}

/* The content gets its name in STORE. */
static int keep(struct content *content, const char *store, const struct large_file *file,
                struct err *err)
{
    int status = content->fd < 0 ? open_file(content, store, err) : 0;
    if (status == 0)
        status = large_file_keep(content->fd, content->path, store, file, false, err);
    if (status == 0)
        free(steal_pointer(&content->path));
    return status;
}

/* A pointer, and an empty file, stays what it is. */
static int clean(struct content *content, const char *store, struct err *err)
{
    struct large_file file;
    AUTO_BUF struct buf pointer;
    buf_init(&pointer, LARGE_FILE_POINTER_MAX);
    if (!content->size || is_pointer(content, &file)) {
        answer_same(content);
        return 0;
    }
    file.size = content->size;
    SHA256End(&content->hash, file.id);
    if (!large_file_is_stored(store, &file)) {
        int status = keep(content, store, &file, err);
        if (status < 0)
            return status;
    }
    large_file_format(&file, &pointer);
    answer_bytes(pointer.data, pointer.len);
    return 0;
}

/* One file; false when git has nothing more. */
static bool serve(const char *store, struct packet_data *packet)
{
    char command[16];
    struct content content;
    struct err err;
    int status;
    if (!read_lines(packet, "command=", command, sizeof command) || !*command ||
        !content_read(&content, store, packet, &status, &err))
        return false;
    if (status == 0 && !strcmp(command, "smudge"))
        smudge(&content, store);
    else if (status == 0)
        status = clean(&content, store, &err);
    content_release(&content);
    if (status < 0) { /* git goes on with the file as it is */
        err_print(&err, "codex-agent large-files");
        write_line("status=error");
        write_flush();
    }
    return fflush(stdout) == 0;
}

/* git names the repository in the environment where that is not the one of the directory. */
static char *find_store(struct err *err)
{
    return repository_large_files(getenv("GIT_DIR"), err);
}

int large_filter_main(int argc, char **argv)
{
    struct err err;
    (void)argv;
    if (argc != 1) {
        fputs("usage: codex-agent large-files\n", stderr);
        return 2;
    }
    AUTO_FREE char *store = find_store(&err);
    AUTO_FREE struct packet_data *packet = malloc(sizeof *packet);
    if (!packet)
        abort();
    if (!store) {
        err_print(&err, "codex-agent large-files");
        return 1;
    }
    if (!greet(packet))
        return 1;
    while (serve(store, packet))
        ;
    return 0;
}
