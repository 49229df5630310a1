#include "workspace/junit.h"

#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/walk.h"

enum { PIECE = 65536 };

struct junit {
    XML_Parser parser;
    struct reading *reading;
    int depth;
    bool foreign; /* a document of another kind */
    bool refused;
    bool in_case;
    enum test_status status;
    char *name;
};

static const char *attribute(const XML_Char **attributes, const char *name)
{
    for (; attributes[0]; attributes += 2)
        if (!strcmp(attributes[0], name))
            return attributes[1];
    return NULL;
}

static bool is_suite(const char *name)
{
    return !strcmp(name, "testsuite") || !strcmp(name, "testsuites");
}

static void stop(struct junit *junit)
{
    XML_StopParser(junit->parser, XML_FALSE);
}

static void begin_case(struct junit *junit, const XML_Char **attributes)
{
    const char *class = attribute(attributes, "classname"), *name = attribute(attributes, "name");
    free(junit->name);
    junit->name = NULL;
    junit->in_case = true;
    junit->status = TEST_CASE_PASSED;
    if (name && class && *class)
        junit->name = str_format("%s.%s", class, name);
    else if (name)
        junit->name = str_dup(name);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct junit *junit = arg;
    junit->foreign = junit->depth == 0 && !is_suite(name);
    junit->refused = junit->depth == JUNIT_DEPTH_MAX;
    if (junit->foreign || junit->refused) {
        stop(junit);
        return;
    }
    junit->depth++;
    if (!strcmp(name, "testcase"))
        begin_case(junit, attributes);
    else if (junit->in_case && (!strcmp(name, "failure") || !strcmp(name, "error")))
        junit->status = TEST_CASE_FAILED;
    else if (junit->in_case && !strcmp(name, "skipped") && junit->status == TEST_CASE_PASSED)
        junit->status = TEST_CASE_SKIPPED;
}

static void on_end(void *arg, const XML_Char *name)
{
    struct junit *junit = arg;
    junit->depth--;
    if (strcmp(name, "testcase") != 0)
        return;
    junit->in_case = false;
    if (junit->name)
        reading_add(junit->reading, junit->status, junit->name, strlen(junit->name));
    else
        junit->reading->broken = true;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int internal)
{
    struct junit *junit = arg;
    junit->foreign = !is_suite(name);
    junit->refused = !junit->foreign;
    stop(junit);
}

struct junit *junit_new(struct reading *reading)
{
    struct junit *junit = calloc(1, sizeof *junit);
    if (!junit)
        abort();
    junit->reading = reading;
    junit->parser = XML_ParserCreate(NULL);
    if (!junit->parser)
        abort();
    XML_SetUserData(junit->parser, junit);
    XML_SetElementHandler(junit->parser, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(junit->parser, on_doctype);
    return junit;
}

void junit_free(struct junit *junit)
{
    if (!junit)
        return;
    XML_ParserFree(junit->parser);
    free(junit->name);
    free(junit);
}

static bool parse(struct junit *junit, const char *bytes, size_t len, bool last)
{
    if (junit->foreign)
        return true;
    if (!junit->refused && XML_Parse(junit->parser, bytes, (int)len, last) == XML_STATUS_OK)
        return true;
    if (junit->foreign)
        return true;
    bool begun = junit->depth > 0; /* of a file that is no XML at all nothing is expected */
    if (junit->refused || begun)
        junit->reading->broken = true;
    junit->foreign = !junit->reading->broken;
    junit->refused = true;
    return junit->foreign;
}

bool junit_feed(struct junit *junit, const char *bytes, size_t len)
{
    for (size_t n; len; bytes += n, len -= n) {
        n = len < PIECE ? len : PIECE;
        if (!parse(junit, bytes, n, false))
            return false;
    }
    return true;
}

bool junit_end(struct junit *junit)
{
    bool good = parse(junit, "", 0, true);
    if (good && !junit->foreign)
        junit->reading->seen = true;
    return good;
}

/* A directory tree that is looked through. */
struct search {
    struct timespec since;
    struct reading *reading;
    size_t entries, files;
    size_t left_bytes;
};

static bool is_new(const struct stat *st, const struct timespec *since)
{
    return st->st_mtim.tv_sec > since->tv_sec ||
           (st->st_mtim.tv_sec == since->tv_sec && st->st_mtim.tv_nsec >= since->tv_nsec);
}

static void read_file(struct search *search, int fd)
{
    char piece[PIECE];
    struct junit *junit = junit_new(search->reading);
    bool good = true;
    ssize_t n = 0;
    for (size_t size = 0; good && (n = read(fd, piece, sizeof piece)) > 0; size += (size_t)n) {
        if (size + (size_t)n > JUNIT_FILE_MAX || (size_t)n > search->left_bytes) {
            search->reading->broken |= !junit->foreign;
            good = false;
            break;
        }
        search->left_bytes -= (size_t)n;
        good = junit_feed(junit, piece, (size_t)n) && !junit->foreign;
    }
    if (good && n == 0)
        junit_end(junit);
    junit_free(junit);
}

/* Neither what others made nor what is hidden. */
static bool is_wanted(const char *path)
{
    return !strstr(path, "/.") && !strstr(path, "/node_modules/");
}

static int on_entry(void *arg, const struct walk_entry *entry, struct err *err)
{
    struct search *search = arg;
    if (search->entries++ == JUNIT_ENTRIES_MAX) {
        search->reading->broken = true;
        return err_set(err, ERR_LIMIT, "too many files");
    }
    if (!S_ISREG(entry->st.st_mode) || !str_ends_with(entry->name, ".xml") ||
        !is_new(&entry->st, &search->since) || !is_wanted(entry->path))
        return 0;
    if (search->files++ == JUNIT_FILES_MAX) {
        search->reading->broken = true;
        return err_set(err, ERR_LIMIT, "too many files");
    }
    AUTO_FD int fd =
        openat(entry->dir, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        read_file(search, fd);
    return 0;
}

static void on_left_out(void *arg, const char *path, const char *why)
{
}

void junit_read_tree(const char *dir, const struct timespec *since, struct reading *reading)
{
    struct search search = {.since = *since, .reading = reading, .left_bytes = JUNIT_TOTAL_MAX};
    const struct walk_callbacks callbacks = {on_entry, on_left_out, &search};
    struct err ignored;
    AUTO_FD int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top >= 0)
        walk_tree(top, "w", &callbacks, &ignored);
}
