/*
 * An agent's journal, damaged in whatever way: refused, or a conversation that can go on. What was
 * taken once is taken again, to the same text.
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/conversation.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static char path[] = "/tmp/codex-fuzz-XXXXXX";
static int directory = -1;

static void remove_directory(void)
{
    io_remove_tree_at(AT_FDCWD, path, NULL);
}

static void open_directory(void)
{
    require(mkdtemp(path) != NULL);
    atexit(remove_directory);
    require((directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
}

static void write_journal(const struct provider *wire, const uint8_t *data, size_t size)
{
    AUTO_FREE char *first = str_format(
        "{\"journal\":1,\"wire_api\":\"%s\",\"task\":\"task-abc123\"}\n", wire->wire_api);
    ssize_t len = (ssize_t)strlen(first);
    AUTO_FD int fd =
        openat(directory, "journal.jsonl", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, first, (size_t)len) == len);
    require(write(fd, data, size) == (ssize_t)size);
}

/* What a request sends of it is JSON. */
static void check_text(const struct conversation *conversation)
{
    struct json_span text = conversation_text(conversation);
    AUTO_FREE char *list = str_format("[%.*s]", (int)text.len, text.at ? text.at : "");
    json_t *json = json_loads(list, JSON_ALLOW_NUL, NULL);
    require(json_is_array(json));
    json_decref(json);
}

static void check_journal(const struct provider *wire, const uint8_t *data, size_t size)
{
    write_journal(wire, data, size);
    struct err err = {0};
    struct conversation *c = conversation_open(wire, directory, "task-abc123", &err);
    if (!c) {
        require(err.code < 0 && *err.message);
        return;
    }
    conversation_interrupt_calls(c, &err);
    require(conversation_calls(c) == 0);
    check_text(c);
    AUTO_FREE char *before = str_format("%.*s", (int)conversation_text(c).len,
                                        conversation_text(c).at ? conversation_text(c).at : "");
    bool ended = conversation_has_ended(c);
    conversation_free(c);
    c = conversation_open(wire, directory, "task-abc123", &err);
    require(c && conversation_text(c).len == strlen(before));
    require(
        !memcmp(conversation_text(c).at ? conversation_text(c).at : "", before, strlen(before)));
    require(conversation_has_ended(c) == ended);
    conversation_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct provider *const wires[] = {&provider_responses, &provider_chat,
                                                   &provider_messages};
    if (directory < 0)
        open_directory();
    if (memchr(data, '\0', size))
        return 0; /* no record has one, and our check of the text is of a string */
    for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++)
        check_journal(wires[i], data, size);
    return 0;
}
