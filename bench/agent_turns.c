/*
 * What the agent adds between two turns: the real `codex-agent run` against a model server that
 * does nothing but count bytes, calling one trivial command a turn. For each number of turns:
 *
 *   - from its start to the first request
 *   - from the end of an answer to the whole next request, beside a bare `bash -c` of the same
 * command
 *   - the same for the turns about the 5th and about the last: a late turn must cost what an early
 *     one costs, though its request is longer
 *   - its memory while it waits for the model at the end
 *
 *     bench-agent PROGRAM [TURNS]...        PROGRAM is build/codex-agent; TURNS 50 and 200
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/process.h"
#include "base/str.h"

enum {
    TURNS_MAX = 10000,
    AROUND = 4,      /* turns on either side that are averaged into "about the n-th" */
    SETTLE_MS = 300, /* the agent syncs its journal soon after it has asked */
    COMMAND_UID = 1000,
};

static _Noreturn void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench-agent: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

/* ---- the model server */

struct server {
    int listener;
    int port;
    char *request; /* the last, as much of it as fits */
    size_t request_size;
};

static void server_open(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listener < 0 ||
        bind(server->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(server->listener, 8) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &len) < 0)
        die("cannot listen", NULL);
    server->port = ntohs(address.sin_port);
    server->request_size = 16 << 20;
    server->request = malloc(server->request_size);
    if (!server->request)
        abort();
}

/* Take one request whole; returns the connection. */
static int take_request(struct server *server, size_t *len)
{
    int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        die("cannot accept", NULL);
    size_t have = 0, want = 0;
    while (!want || have < want) {
        ssize_t n = read(fd, server->request + have, server->request_size - have - 1);
        if (n <= 0)
            die("the agent did not send a whole request", NULL);
        have += (size_t)n;
        server->request[have] = '\0';
        char *end = want ? NULL : strstr(server->request, "\r\n\r\n");
        char *length = end ? strstr(server->request, "Content-Length: ") : NULL;
        if (length)
            want = (size_t)(end + 4 - server->request) + strtoul(length + 16, NULL, 10);
    }
    *len = have;
    return fd;
}

static void send_all(int fd, const struct buf *bytes)
{
    struct err err;
    if (io_write_all(fd, bytes->data, bytes->len, &err) < 0)
        die("cannot answer", &err);
}

/* An event stream of one item as one chunk, and the end of the body. */
static void put_answer(struct buf *out, const char *item)
{
    AUTO_BUF struct buf body;
    buf_init(&body, 65536);
    buf_appendf(&body,
                "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n"
                "event: response.output_item.done\n"
                "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":%s}\n\n"
                "event: response.completed\n"
                "data: {\"type\":\"response.completed\",\"response\":{\"output\":[%s],\"usage\":"
                "{\"input_tokens\":100,\"output_tokens\":10,\"total_tokens\":110}}}\n\n",
                item, item);
    buf_clear(out);
    buf_appendf(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
        body.len, body.data);
}

static void put_call(struct buf *out, unsigned turn)
{
    AUTO_FREE char *item =
        str_format("{\"type\":\"function_call\",\"id\":\"fc_%u\",\"call_id\":\"call_%u\",\"name\":"
                   "\"exec_command\",\"arguments\":\"{\\\"cmd\\\":\\\"true %u\\\"}\",\"status\":"
                   "\"completed\"}",
                   turn, turn, turn);
    put_answer(out, item);
}

/* ---- the agent */

struct place {
    char path[64];
    char workdir[80], state[80];
};

static void place_make(struct place *place)
{
    strcpy(place->path, "/tmp/codex-bench-XXXXXX");
    if (!mkdtemp(place->path) || chmod(place->path, 0755) < 0)
        die("cannot make a directory", NULL);
    snprintf(place->workdir, sizeof place->workdir, "%s/work", place->path);
    snprintf(place->state, sizeof place->state, "%s/state", place->path);
    if (mkdir(place->workdir, 0755) < 0 ||
        (geteuid() == 0 && chown(place->workdir, COMMAND_UID, COMMAND_UID) < 0))
        die("cannot make a workspace", NULL);
}

static pid_t start_agent(const char *program, const struct place *place, int port)
{
    struct err err;
    AUTO_FREE char *task =
        str_format("{\"task\":\"task-bench1\",\"prompt\":\"go\",\"workdir\":\"%s\",\"model\":"
                   "\"o3\",\"effort\":"
                   "\"high\",\"base_url\":\"http://127.0.0.1:%d/v1\",\"api_key\":\"k\"}",
                   place->workdir, port);
    AUTO_FD int input = io_memfd("task", task, strlen(task), &err);
    AUTO_FD int events = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const char *argv[] = {program, "run", "--state", place->state, NULL};
    const struct process_fd fds[] = {{input, 0}, {STDERR_FILENO, 2}, {events, 3}};
    /* As in a sandbox: what whoever measures has in the environment is not to count. */
    const char *envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          NULL};
    const struct process_options options = {.argv = argv, .envp = envp, .fds = fds, .fds_count = 3};
    pid_t pid = process_spawn(&options, &err);
    if (pid < 0)
        die("cannot start the agent", &err);
    return pid;
}

static long memory_kb(pid_t pid, const char *name)
{
    AUTO_FREE char *path = str_format("/proc/%d/smaps_rollup", (int)pid);
    AUTO_FILE FILE *file = fopen(path, "re");
    char line[256];
    long kb = 0;
    while (file && fgets(line, sizeof line, file))
        if (str_starts_with(line, name))
            kb += strtol(line + strcspn(line, ":") + 1, NULL, 10);
    return kb;
}

/* ---- figures */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *values, size_t count, unsigned percent)
{
    double *sorted = malloc(count * sizeof *sorted);
    if (!sorted)
        abort();
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    double value = sorted[(count - 1) * percent / 100];
    free(sorted);
    return value;
}

/* The median of the gaps about TURN. */
static double about(const double *gaps, size_t count, size_t turn)
{
    size_t from = turn > AROUND ? turn - AROUND : 0;
    size_t to = turn + AROUND < count ? turn + AROUND + 1 : count;
    return percentile(gaps + from, to - from, 50);
}

/* The command alone, as the shell runs it. */
static double bare_ms(void)
{
    static const char *const argv[] = {"bash", "-c", "true", NULL};
    struct err err;
    int64_t began_us = clock_mono_us();
    if (process_run(argv, -1, NULL, &err) != 0)
        die("bash failed", NULL);
    return (double)(clock_mono_us() - began_us) / 1000;
}

static void print(size_t turns, const double *gaps, const double *bare, double first_ms,
                  size_t request_len)
{
    double median = percentile(gaps, turns, 50), bare_median = percentile(bare, turns, 50);
    printf(
        "%zu turns: start to first request %.2f ms; between turns p50 %.2f ms, p95 %.2f ms "
        "(bare bash -c %.2f ms, so %.2f ms beyond); about turn 5 %.2f ms, about the last %.2f ms "
        "(a request of %zu kB)\n",
        turns, first_ms, median, percentile(gaps, turns, 95), bare_median, median - bare_median,
        about(gaps, turns, 5), about(gaps, turns, turns - 1 - AROUND), request_len / 1000);
}

static void bench(const char *program, size_t turns)
{
    struct place place;
    struct server server;
    size_t len;
    AUTO_BUF struct buf answer;
    buf_init(&answer, 1 << 20);
    double *gaps = calloc(turns, sizeof *gaps), *bare = calloc(turns, sizeof *bare);
    if (!gaps || !bare)
        abort();
    place_make(&place);
    server_open(&server);

    int64_t began_us = clock_mono_us();
    pid_t pid = start_agent(program, &place, server.port);
    int fd = take_request(&server, &len);
    double first_ms = (double)(clock_mono_us() - began_us) / 1000;
    for (size_t turn = 0; turn < turns; turn++) {
        put_call(&answer, (unsigned)turn);
        send_all(fd, &answer);
        int64_t answered_us = clock_mono_us();
        close(fd);
        fd = take_request(&server, &len);
        gaps[turn] = (double)(clock_mono_us() - answered_us) / 1000;
        bare[turn] = bare_ms(); /* by turns: what else the machine does meets both */
    }
    usleep(SETTLE_MS * 1000);
    print(turns, gaps, bare, first_ms, len);
    printf("%zu turns: waiting for the model: private %ld kB, PSS %ld kB\n", turns,
           memory_kb(pid, "Private_"), memory_kb(pid, "Pss:"));
    put_answer(&answer, "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
                        "\"output_text\",\"text\":\"done\"}]}");
    send_all(fd, &answer);
    close(fd);
    if (process_wait(pid) != 0)
        die("the agent failed", NULL);
    close(server.listener);
    free(server.request);
    free(gaps);
    free(bare);
    io_remove_tree_at(AT_FDCWD, place.path, NULL);
}

/*
 * As root the agent ends, with its turn, every process of its commands' user that it can see: here
 * it sees only its own. And a sandbox's user has no home directory, so no start-up files of a shell
 * that a person tuned. Goes on in a child; the caller only hands on its exit status.
 */
static void enter_namespaces(void)
{
    if (geteuid() != 0)
        return;
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
        die("cannot make namespaces", NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("cannot fork", NULL);
    if (pid > 0) {
        int status = process_wait(pid);
        exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, NULL) < 0 ||
        mount("tmpfs", "/home", "tmpfs", 0, "size=64k") < 0)
        die("cannot mount in the namespaces", NULL);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"50", "200"};
    if (argc < 2) {
        fprintf(stderr, "usage: bench-agent PROGRAM [TURNS]...\n");
        return 2;
    }
    enter_namespaces();
    const char *const *turns = argc > 2 ? (const char *const *)argv + 2 : usual;
    for (int i = 0; i < (argc > 2 ? argc - 2 : 2); i++) {
        int64_t count;
        if (str_parse_int(turns[i], 5, TURNS_MAX, &count) < 0)
            die("TURNS is a number from 5 to 10000", NULL);
        bench(argv[1], (size_t)count);
    }
    return 0;
}
