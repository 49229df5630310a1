#include "http/curl_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* Connections to the provider that are kept for the next request: one each that may run at once. */
enum { KEPT_CONNECTIONS = 16 };

struct curl_loop {
    struct loop *loop;
    CURLM *multi;
    struct loop_source *timer;
    curl_loop_done_fn *done;
    void *arg;
};

struct watch {
    struct curl_loop *curl;
    curl_socket_t fd;
    struct loop_source *source;
};

static void tell_done(struct curl_loop *curl)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(curl->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        curl_multi_remove_handle(curl->multi, easy);
        curl->done(curl->arg, easy, result);
    }
}

static void act(struct curl_loop *curl, curl_socket_t fd, int flags)
{
    int running;
    curl_multi_socket_action(curl->multi, fd, flags, &running);
    tell_done(curl);
}

static void on_socket(void *arg, uint32_t events)
{
    const struct watch *watch = arg;
    int flags = (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP) ? CURL_CSELECT_IN : 0) |
                (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    act(watch->curl, watch->fd, flags);
}

static void on_timer(void *arg)
{
    struct curl_loop *curl = arg;
    curl->timer = NULL;
    act(curl, CURL_SOCKET_TIMEOUT, 0);
}

static int want_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_loop *curl = arg;
    loop_remove(curl->timer);
    curl->timer = timeout_ms < 0 ? NULL : loop_add_timer(curl->loop, timeout_ms, on_timer, curl);
    return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct curl_loop *curl = arg;
    struct watch *watch = assigned;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            loop_remove(watch->source);
        free(watch);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (watch)
        return loop_change_fd(watch->source, events) < 0 ? -1 : 0;
    watch = calloc(1, sizeof *watch);
    if (!watch)
        abort();
    *watch = (struct watch){.curl = curl, .fd = fd};
    watch->source = loop_add_fd(curl->loop, fd, events, on_socket, watch, NULL);
    if (!watch->source) {
        free(watch);
        return -1;
    }
    curl_multi_assign(curl->multi, fd, watch);
    return 0;
}

struct curl_loop *curl_loop_new(struct loop *loop, curl_loop_done_fn *done, void *arg,
                                struct err *err)
{
    CURLM *multi = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
    if (!multi) {
        err_set(err, -ENOMEM, "cannot initialise libcurl");
        return NULL;
    }
    struct curl_loop *curl = calloc(1, sizeof *curl);
    if (!curl)
        abort();
    *curl = (struct curl_loop){.loop = loop, .multi = multi, .done = done, .arg = arg};
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, curl);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, curl);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    return curl;
}

void curl_loop_free(struct curl_loop *curl)
{
    if (!curl)
        return;
    curl_multi_cleanup(curl->multi); /* calls want_socket for the connections that were kept */
    loop_remove(curl->timer);
    free(curl);
    curl_global_cleanup();
}

int curl_loop_add(struct curl_loop *curl, CURL *easy, struct err *err)
{
    CURLMcode code = curl_multi_add_handle(curl->multi, easy);
    return code == CURLM_OK ? 0 : err_set(err, -EIO, "libcurl: %s", curl_multi_strerror(code));
}

void curl_loop_remove(struct curl_loop *curl, CURL *easy)
{
    curl_multi_remove_handle(curl->multi, easy);
}
