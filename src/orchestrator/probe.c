#include "orchestrator/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/str.h"
#include "http/client.h"
#include "orchestrator/probe_answer.h"
#include "orchestrator/run_config.h"
#include "task/gateway_control.h"

enum {
    PROVIDER_MS = 20000, /* of silence; a gateway tells of it before we give up */
    REQUEST_MAX = 4096,
};

struct probe {
    struct probe_options options;
    const struct config_provider *provider;
    probe_done_fn *done;
    void *arg;
    int control; /* ours; its end ends the gateway */
    struct loop_source *timer;
    struct http_call *call;
    struct probe_answer answer;
    struct buf body;
    struct iovec piece;
    json_t *early; /* what is found without asking */
    int64_t started_ms;
};

static void probe_free(struct probe *probe)
{
    loop_remove(probe->timer);
    http_call_cancel(probe->call);
    cleanup_fd(&probe->control);
    buf_release(&probe->body);
    probe_answer_release(&probe->answer);
    json_decref(probe->early);
    free(probe);
}

void probe_drop(struct probe *probe)
{
    if (probe)
        probe_free(probe);
}

static void finish(struct probe *probe, json_t *finding)
{
    probe_done_fn *done = probe->done;
    void *arg = probe->arg;
    probe_free(probe);
    done(arg, finding);
}

static void on_timer(void *arg)
{
    struct probe *probe = arg;
    probe->timer = NULL;
    json_t *finding = json_incref(probe->early);
    if (!finding) {
        struct err err;
        err_set(&err, -ETIMEDOUT, "no answer within %d s", PROBE_MS / 1000);
        finding = probe_answer_failed(&probe->answer, &err);
    }
    finish(probe, finding);
}

static void on_head(void *arg, const struct http_head *head)
{
    struct probe *probe = arg;
    probe_answer_head(&probe->answer, head);
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct probe *probe = arg;
    probe_answer_data(&probe->answer, bytes, len);
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct probe *probe = arg;
    probe->call = NULL;
    finish(probe, status < 0
                      ? probe_answer_failed(&probe->answer, err)
                      : probe_answer_finding(&probe->answer, clock_mono_ms() - probe->started_ms));
}

/* --- the gateway --- */

/* A listener on a free port of loopback. Others of this machine may connect, and lack the key. */
static int open_listener(struct http_peer *peer, struct err *err)
{
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *peer = (struct http_peer){.address_len = sizeof(struct sockaddr_in), .host = "127.0.0.1"};
    struct sockaddr_in *address = (struct sockaddr_in *)&peer->address;
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof *address) < 0 || listen(fd, 4) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &peer->address_len) < 0)
        return err_errno(err, "cannot listen on loopback");
    return steal_fd(&fd);
}

static int open_events(struct err *err)
{
    AUTO_FD int fd = memfd_create("events", MFD_CLOEXEC);
    if (fd < 0 || fcntl(fd, F_SETFL, O_APPEND) < 0)
        return err_errno(err, "cannot create a memory file");
    return steal_fd(&fd);
}

static int open_config(const struct probe *probe, const char *sandbox_key, struct err *err)
{
    const struct config *config = probe->options.config;
    struct config_provider provider = *probe->provider;
    if (provider.first_byte_timeout_ms > PROVIDER_MS)
        provider.first_byte_timeout_ms = PROVIDER_MS;
    if (provider.idle_timeout_ms > PROVIDER_MS)
        provider.idle_timeout_ms = PROVIDER_MS;
    const struct task task = {.id = "doctor", .model = config->model};
    struct provider_secrets keys;
    int fd = secrets_provider(probe->options.secrets, config, probe->provider, &keys, err);
    if (fd < 0)
        return fd;
    fd = run_config_gateway(&task, config, &provider, &keys, sandbox_key, err);
    provider_secrets_release(&keys);
    return fd;
}

/* Start a gateway, and have it listen at LISTENER. */
static int start_gateway(struct probe *probe, const char *sandbox_key, int listener,
                         struct err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return err_errno(err, "cannot create a socket pair");
    probe->control = ends[0];
    AUTO_FD int theirs = ends[1];
    AUTO_FD int events = open_events(err);
    AUTO_FD int config = events < 0 ? -1 : open_config(probe, sandbox_key, err);
    if (events < 0 || config < 0)
        return err->code;
    const int fds[SPAWN_GATEWAY_FDS] = {[SPAWN_GATEWAY_CONTROL] = theirs,
                                        [SPAWN_GATEWAY_EVENTS] = events,
                                        [SPAWN_GATEWAY_CONFIG] = config};
    const struct gateway_control listen = {.type = GATEWAY_LISTEN};
    struct spawn_message message = {.type = SPAWN_GATEWAY};
    int status = io_send_fds(probe->control, &listen, sizeof listen, &listener, 1, err);
    if (status == 0)
        status = spawner_send(probe->options.spawner, &message, fds, SPAWN_GATEWAY_FDS, err);
    return status;
}

/* --- the request --- */

static const char *write_request(struct probe *probe)
{
    buf_append_str(&probe->body, "{\"model\":");
    json_text_cstring(&probe->body, probe->options.config->model);
    if (probe->provider->wire_api == WIRE_CHAT) {
        buf_append_str(&probe->body,
                       ",\"messages\":[{\"role\":\"user\",\"content\":\"Say ok.\"}]}");
        return "/v1/chat/completions";
    }
    if (probe->provider->wire_api == WIRE_MESSAGES) {
        buf_append_str(&probe->body, ",\"messages\":[{\"role\":\"user\",\"content\":\"Say ok.\"}],"
                                     "\"max_tokens\":1,\"stream\":true}");
        return "/v1/messages";
    }
    /* 16 is the least that the Responses API takes. */
    buf_append_str(&probe->body, ",\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":["
                                 "{\"type\":\"input_text\",\"text\":\"Say ok.\"}]}],"
                                 "\"max_output_tokens\":16,\"store\":false,\"stream\":true}");
    return "/v1/responses";
}

static int ask(struct probe *probe, struct err *err)
{
    static const struct http_call_handlers handlers = {on_head, on_data, on_end};
    char sandbox_key[SANDBOX_KEY_SIZE];
    struct http_peer peer;
    run_config_sandbox_key(sandbox_key);
    AUTO_FD int listener = open_listener(&peer, err);
    if (listener < 0)
        return listener;
    int status = start_gateway(probe, sandbox_key, listener, err);
    if (status < 0)
        return status;
    const char *target = write_request(probe);
    AUTO_FREE char *authorization = str_format("Bearer %s", sandbox_key);
    const struct http_header headers[] = {{"Authorization", authorization},
                                          {"Content-Type", "application/json"},
                                          {"Accept", "text/event-stream"}};
    probe->piece = (struct iovec){probe->body.data, probe->body.len};
    const struct http_request request = {.method = "POST",
                                         .target = target,
                                         .headers = headers,
                                         .headers_count = 3,
                                         .body = &probe->piece,
                                         .body_count = 1};
    probe->call = http_call_start(probe->options.loop, &peer, &request, &handlers, probe);
    return 0;
}

struct probe *probe_start(const struct probe_options *options, probe_done_fn *done, void *arg)
{
    struct probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        abort();
    const struct config *config = options->config;
    *probe = (struct probe){.options = *options,
                            .provider = config_provider_find(config, config->provider),
                            .done = done,
                            .arg = arg,
                            .control = -1,
                            .started_ms = clock_mono_ms()};
    buf_init(&probe->body, REQUEST_MAX);
    probe_answer_init(&probe->answer, probe->provider, config->model);
    struct err err;
    if (probe->provider->wire_api == WIRE_REPLAY)
        probe->early = probe_answer_none(&probe->answer);
    else if (ask(probe, &err) < 0)
        probe->early = probe_answer_failed(&probe->answer, &err);
    probe->timer = loop_add_timer(options->loop, probe->early ? 0 : PROBE_MS, on_timer, probe);
    return probe;
}
