#include "git/large_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/command.h"

enum {
    IDS_MAX = 256 << 20,      /* bytes of a list of objects */
    CONTENTS_MAX = 256 << 20, /* bytes of objects that may be pointers */
    FIND_TIMEOUT_MS = 600000,
};

void large_files_release(struct large_files *files)
{
    free(files->list);
    *files = (struct large_files){0};
}

static bool is_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == LARGE_FILE_ID_LEN;
}

bool large_file_parse(const char *text, size_t len, struct large_file *file)
{
    static const char start[] = "version https://git-lfs.github.com/spec/";
    static const char before_id[] = "oid sha256:", before_size[] = "size ";
    char copy[LARGE_FILE_POINTER_MAX + 1];
    *file = (struct large_file){.size = -1};
    if (len >= LARGE_FILE_POINTER_MAX || !str_starts_with(text, start) || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *id = line + sizeof before_id - 1;
        if (str_starts_with(line, before_id) && is_id(id) && !id[LARGE_FILE_ID_LEN])
            memcpy(file->id, id, LARGE_FILE_ID_SIZE);
        else if (str_starts_with(line, before_size) &&
                 str_parse_int(line + sizeof before_size - 1, 0, INT64_MAX, &file->size) < 0)
            return false;
    }
    return *file->id && file->size >= 0;
}

void large_file_format(const struct large_file *file, struct buf *out)
{
    buf_appendf(out, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %lld\n",
                file->id, (long long)file->size);
}

bool large_files_are_used(const char *git_dir, const char *commit)
{
    struct err ignored;
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "grep", "--quiet", "-e", "filter=lfs", commit, "--",
             ":(top,glob)**/.gitattributes", NULL);
    return git_run(&git, &ignored) != 1; /* "no"; who cannot tell looks for pointers */
}

/* The ids of the objects that may be pointers, a line each. */
static int list_objects(const char *git_dir, const char *commit, const char *base, struct buf *ids,
                        struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    if (base)
        git_args(&git, "rev-list", "--objects", "--no-object-names", commit, "--not", base, NULL);
    else
        git_args(&git, "ls-tree", "-r", "--object-only", "--full-tree", commit, NULL);
    git.out = ids;
    git.timeout_ms = FIND_TIMEOUT_MS;
    return git_must(&git, err);
}

static int ask(const char *git_dir, const char *form, const struct buf *ids, struct buf *answer,
               struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "cat-file", form, "--buffer", NULL);
    git.input = ids->data;
    git.input_len = ids->len;
    git.out = answer;
    git.timeout_ms = FIND_TIMEOUT_MS;
    return ids->len ? git_must(&git, err) : 0;
}

/* Of the objects IDS those that are as small as a pointer, into SMALL. A submodule's commit is missing. */
static int choose_small(const char *git_dir, const struct buf *ids, struct buf *small,
                        struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, IDS_MAX);
    int status =
        ask(git_dir, "--batch-check=%(objectsize) %(objecttype) %(objectname)", ids, &answer, err);
    char *rest = answer.data;
    for (char *line; status == 0 && (line = strsep(&rest, "\n")) && *line;) {
        char *type;
        long long size = strtoll(line, &type, 10);
        if (str_starts_with(type, " blob ") && size > 0 && size < LARGE_FILE_POINTER_MAX)
            buf_appendf(small, "%s\n", type + sizeof " blob " - 1);
    }
    return status;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct large_file *)a)->id, ((const struct large_file *)b)->id);
}

int large_files_add(struct large_files *files, const struct large_file *file, struct err *err)
{
    if (files->count == LARGE_FILES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d files in Git LFS", LARGE_FILES_MAX);
    if (!files->list && !(files->list = calloc(LARGE_FILES_MAX, sizeof *files->list)))
        abort();
    files->list[files->count++] = *file;
    return 0;
}

/* Each once, and what they come to. */
static void settle(struct large_files *files)
{
    size_t kept = 0;
    if (files->count)
        qsort(files->list, files->count, sizeof *files->list, compare_ids);
    for (size_t i = 0; i < files->count; i++) {
        if (kept && !strcmp(files->list[kept - 1].id, files->list[i].id))
            continue;
        files->list[kept++] = files->list[i];
        if (__builtin_add_overflow(files->size, files->list[i].size, &files->size))
            files->size = INT64_MAX;
    }
    files->count = kept;
}

/* "<name> <type> <size>\n<bytes>\n" each: git-cat-file(1), "Batch output". */
static int read_pointers(const struct buf *contents, struct large_files *files, struct err *err)
{
    const char *at = contents->data, *end = contents->data + contents->len;
    while (at < end) {
        struct large_file file;
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *size = line_end ? memrchr(at, ' ', (size_t)(line_end - at)) : NULL;
        size_t len = size ? strtoul(size + 1, NULL, 10) : 0;
        if (!size || len >= (size_t)(end - line_end))
            return err_set(err, ERR_PROTOCOL, "git cat-file: its answer makes no sense");
        if (large_file_parse(line_end + 1, len, &file) && file.size > 0) {
            int status = large_files_add(files, &file, err);
            if (status < 0)
                return status;
        }
        at = line_end + 1 + len + 1;
    }
    settle(files);
    return 0;
}

int large_files_find(const char *git_dir, const char *commit, const char *base,
                     struct large_files *files, struct err *err)
{
    AUTO_BUF struct buf ids, small, contents;
    buf_init(&ids, IDS_MAX);
    buf_init(&small, IDS_MAX);
    buf_init(&contents, CONTENTS_MAX);
    *files = (struct large_files){0};
    int status = list_objects(git_dir, commit, base, &ids, err);
    if (status == 0)
        status = choose_small(git_dir, &ids, &small, err);
    if (status == 0)
        status = ask(git_dir, "--batch", &small, &contents, err);
    return status < 0 ? status : read_pointers(&contents, files, err);
}

struct large_file *large_files_search(const struct large_files *files,
                                      const struct large_file *file)
{
    return files->count ? bsearch(file, files->list, files->count, sizeof *files->list, compare_ids)
                        : NULL;
}
