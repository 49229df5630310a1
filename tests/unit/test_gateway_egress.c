/* What the proxy makes of requests, answers and TLS greetings; and what a policy says. */
#include "test.h"

#include <jansson.h>

#include "gateway/egress/explain.h"
#include "gateway/egress/flow.h"
#include "gateway/egress/forward.h"
#include "gateway/egress/policy.h"
#include "gateway/egress/tls_hello.h"

/* ---- policy */

static void read_policy(struct egress_policy *policy, const char *text)
{
    struct err err;
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    if (egress_policy_read(policy, json, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    json_decref(json);
}

static enum egress_verdict ask_narrowed(const char *policy_text, const char *narrowing,
                                        const char *authority)
{
    struct egress_policy policy;
    struct net_host host;
    struct err err;
    uint16_t port;
    read_policy(&policy, policy_text);
    json_t *internet = json_loads(narrowing, JSON_DECODE_ANY, NULL);
    assert_int_equal(egress_policy_narrow(&policy, internet, &err), 0);
    json_decref(internet);
    assert_int_equal(net_host_parse_authority(&host, &port, authority, strlen(authority), &err), 0);
    enum egress_verdict verdict = egress_policy_host(&policy, &host, port);
    if (verdict == EGRESS_ALLOWED && host.is_address)
        verdict = egress_policy_address(&policy, &host, port, &host.address);
    egress_policy_release(&policy);
    return verdict;
}

static enum egress_verdict ask(const char *policy_text, const char *authority)
{
    return ask_narrowed(policy_text, "null", authority);
}

static void test_access(void **state)
{
    static const struct {
        const char *policy, *authority;
        enum egress_verdict verdict;
    } cases[] = {
        {"{\"access\":\"off\"}", "github.com:443", EGRESS_DENIED_ACCESS},
        {"{\"access\":\"off\",\"allow\":[\"*\"]}", "github.com:443", EGRESS_DENIED_ACCESS},
        {"{\"access\":\"public\"}", "github.com:443", EGRESS_ALLOWED},
        {"{\"access\":\"public\"}", "github.com:80", EGRESS_ALLOWED},
        {"{\"access\":\"public\"}", "github.com:22", EGRESS_DENIED_PORT},
        {"{\"access\":\"public\",\"allow\":[\"github.com:22\"]}", "github.com:22", EGRESS_ALLOWED},
        {"{\"access\":\"public\",\"allow\":[\"github.com:22\"]}", "github.com:443", EGRESS_ALLOWED},
        {"{\"access\":\"common\"}", "github.com:443", EGRESS_ALLOWED},
        {"{\"access\":\"common\"}", "github.com:22", EGRESS_DENIED_PORT},
        {"{\"access\":\"common\"}", "example.com:443", EGRESS_DENIED_HOST},
        {"{\"access\":\"common\",\"allow\":[\"example.com\"]}", "example.com:443", EGRESS_ALLOWED},
        {"{\"access\":\"list\"}", "github.com:443", EGRESS_DENIED_HOST},
        {"{\"access\":\"list\",\"allow\":[\"*\"]}", "github.com:443", EGRESS_ALLOWED},
        {"{\"access\":\"list\",\"allow\":[\"a.test:99\"]}", "a.test:443", EGRESS_DENIED_PORT},
        {"{\"access\":\"list\",\"allow\":[\"10.0.0.1\"]}", "10.0.0.1:443", EGRESS_DENIED_PRIVATE},
        {"{\"access\":\"list\",\"allow_private\":[\"10.0.0.1\"]}", "10.0.0.1:443", EGRESS_ALLOWED},
        {"{\"access\":\"list\",\"allow_private\":[\"10.0.0.0/8\"]}", "10.0.0.1:80", EGRESS_ALLOWED},
        {"{\"access\":\"public\",\"allow_private\":[\"10.0.0.0/8\"]}", "10.0.0.1:22",
         EGRESS_DENIED_PRIVATE},
        {"{\"access\":\"public\",\"allow_private\":[\"10.0.0.0/8:22\"]}", "10.0.0.1:22",
         EGRESS_ALLOWED},
        {"{\"access\":\"public\"}", "10.0.0.1:22", EGRESS_DENIED_PRIVATE},
        {"{\"access\":\"public\",\"allow\":[\"*:22\"]}", "10.0.0.1:22", EGRESS_DENIED_PRIVATE},
        {"{\"access\":\"public\"}", "localhost:443", EGRESS_DENIED_PRIVATE},
        {"{\"access\":\"public\",\"allow_private\":[\"127.0.0.0/8:64080\"]}", "127.1:64080",
         EGRESS_DENIED_OWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (ask(cases[i].policy, cases[i].authority) != cases[i].verdict)
            fail_msg("%s %s", cases[i].policy, cases[i].authority);
}

/* A name that was let through by its name may still lead to where it may not. */
static void test_addresses_of_names(void **state)
{
    struct egress_policy policy;
    struct net_host host;
    struct net_address private, public;
    net_address_parse(&private, "10.1.1.1");
    net_address_parse(&public, "9.9.9.9");
    assert_int_equal(net_host_parse(&host, "a.test", 6, NULL), 0);
    read_policy(&policy, "{\"access\":\"list\",\"allow\":[\"a.test\"],"
                         "\"allow_private\":[\"b.test\",\"10.2.0.0/16\",\"a.test:8080\"]}");
    assert_int_equal(egress_policy_address(&policy, &host, 443, &public), EGRESS_ALLOWED);
    assert_int_equal(egress_policy_address(&policy, &host, 443, &private), EGRESS_DENIED_PRIVATE);
    assert_int_equal(egress_policy_address(&policy, &host, 8080, &private), EGRESS_ALLOWED);
    net_address_parse(&private, "10.2.1.1");
    assert_int_equal(egress_policy_address(&policy, &host, 443, &private), EGRESS_ALLOWED);
    assert_true(egress_policy_checks_tls(&policy, 443));
    assert_false(egress_policy_checks_tls(&policy, 8080));
    egress_policy_release(&policy);
}

/* What a repository says can only take away. */
static void test_the_repository_narrows(void **state)
{
    static const char public[] = "{\"access\":\"public\"}";
    static const char list[] = "{\"access\":\"list\",\"allow\":[\"*.a.test\",\"b.test:99\"],"
                               "\"allow_private\":[\"mirror.corp:8081\",\"10.0.0.0/8\"]}";
    static const struct {
        const char *policy, *narrowing, *authority;
        enum egress_verdict verdict;
    } cases[] = {
        {public, "null", "x.test:443", EGRESS_ALLOWED},
        {public, "{\"access\":\"public\",\"allow\":[]}", "x.test:443", EGRESS_ALLOWED},
        {public, "{\"access\":\"off\",\"allow\":[\"*\"]}", "x.test:443", EGRESS_DENIED_REPOSITORY},
        {public, "{\"access\":\"common\"}", "github.com:443", EGRESS_ALLOWED},
        {public, "{\"access\":\"common\"}", "x.test:443", EGRESS_DENIED_REPOSITORY},
        {public, "{\"access\":\"common\",\"allow\":[\"x.test\"]}", "x.test:443", EGRESS_ALLOWED},
        {public, "{\"access\":\"list\",\"allow\":[\"x.test\"]}", "x.test:443", EGRESS_ALLOWED},
        {public, "{\"access\":\"list\",\"allow\":[\"x.test\"]}", "y.x.test:443",
         EGRESS_DENIED_REPOSITORY},
        {public, "{\"access\":\"list\",\"allow\":[\"x.test:8443\"]}", "x.test:443",
         EGRESS_DENIED_REPOSITORY},
        /* Never more than the server lets out: each reason is then the server's. */
        {public, "{\"access\":\"list\",\"allow\":[\"*:22\"]}", "x.test:22", EGRESS_DENIED_PORT},
        {public, "{\"access\":\"list\",\"allow\":[\"10.0.0.1\",\"*\"]}", "10.0.0.1:443",
         EGRESS_DENIED_PRIVATE},
        {public, "{\"access\":\"list\",\"allow\":[\"*\"],\"allow_private\":[\"10.0.0.0/8\"]}",
         "10.0.0.1:443", EGRESS_DENIED_PRIVATE},
        {"{\"access\":\"off\"}", "{\"access\":\"public\"}", "x.test:443", EGRESS_DENIED_ACCESS},
        {"{\"access\":\"off\"}", "{\"access\":\"list\",\"allow\":[\"*\"]}", "x.test:443",
         EGRESS_DENIED_ACCESS},
        {"{\"access\":\"common\"}", "{\"access\":\"public\"}", "x.test:443", EGRESS_DENIED_HOST},
        {"{\"access\":\"common\"}", "{\"access\":\"list\",\"allow\":[\"x.test\"]}", "x.test:443",
         EGRESS_DENIED_HOST},
        {"{\"access\":\"common\"}", "{\"access\":\"list\",\"allow\":[\"github.com\"]}",
         "github.com:443", EGRESS_ALLOWED},
        {"{\"access\":\"common\"}", "{\"access\":\"list\",\"allow\":[\"github.com\"]}",
         "registry.npmjs.org:443", EGRESS_DENIED_REPOSITORY},
        {list, "{\"access\":\"list\",\"allow\":[\"x.a.test\",\"*\"]}", "c.test:443",
         EGRESS_DENIED_HOST},
        {list, "{\"access\":\"list\",\"allow\":[\"x.a.test\"]}", "x.a.test:443", EGRESS_ALLOWED},
        {list, "{\"access\":\"list\",\"allow\":[\"x.a.test\"]}", "y.a.test:443",
         EGRESS_DENIED_REPOSITORY},
        {list, "{\"access\":\"list\",\"allow\":[\"b.test\"]}", "b.test:99",
         EGRESS_DENIED_REPOSITORY},
        {list, "{\"access\":\"common\"}", "mirror.corp:8081", EGRESS_DENIED_REPOSITORY},
        {list, "{\"access\":\"list\",\"allow\":[\"mirror.corp:8081\"]}", "mirror.corp:8081",
         EGRESS_ALLOWED},
        {list, "{\"access\":\"list\",\"allow\":[\"10.1.0.0/16\"]}", "10.1.2.3:80", EGRESS_ALLOWED},
        {list, "{\"access\":\"list\",\"allow\":[\"10.1.0.0/16\"]}", "10.2.2.3:80",
         EGRESS_DENIED_REPOSITORY},
        {list, "{\"access\":\"off\"}", "10.1.2.3:80", EGRESS_DENIED_REPOSITORY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum egress_verdict verdict =
            ask_narrowed(cases[i].policy, cases[i].narrowing, cases[i].authority);
        if (verdict != cases[i].verdict)
            fail_msg("%s %s %s: %s", cases[i].policy, cases[i].narrowing, cases[i].authority,
                     egress_verdict_name(verdict));
    }
}

static void test_what_is_no_narrowing_leaves_nothing(void **state)
{
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "7",
                                      "\"public\"",
                                      "{\"access\":null}",
                                      "{\"access\":\"Public\"}",
                                      "{\"access\":\"list\",\"allow\":\"*\"}",
                                      "{\"access\":\"list\",\"allow\":[7]}",
                                      "{\"access\":\"public\",\"allow\":[\"http://x\"]}"};
    struct egress_policy policy;
    struct net_host host;
    struct err err;
    assert_int_equal(net_host_parse(&host, "x.test", 6, NULL), 0);
    read_policy(&policy, "{\"access\":\"public\"}");
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        json_t *json = i < sizeof bad / sizeof bad[0] ? json_loads(bad[i], JSON_DECODE_ANY, NULL)
                                                      : NULL; /* the member is missing */
        assert_int_equal(egress_policy_narrow(&policy, json, &err), ERR_USAGE);
        assert_int_equal(egress_policy_host(&policy, &host, 443), EGRESS_DENIED_REPOSITORY);
        json_decref(json);
    }
    /* And it checks what it lets through. */
    json_t *json = json_loads("{\"access\":\"list\",\"allow\":[\"x.test\"]}", 0, NULL);
    assert_false(egress_policy_checks_tls(
        &(struct egress_policy){.access = EGRESS_PUBLIC, .narrowing.access = EGRESS_PUBLIC}, 443));
    assert_int_equal(egress_policy_narrow(&policy, json, &err), 0);
    assert_int_equal(egress_policy_host(&policy, &host, 443), EGRESS_ALLOWED);
    assert_true(egress_policy_checks_tls(&policy, 443));
    json_decref(json);
    egress_policy_release(&policy);
}

/* ---- heads */

static struct forward *forward_of(const char *text, struct target *target, struct buf *out)
{
    struct http_head head;
    struct err err;
    assert_true(http_head_parse(&head, HTTP_REQUEST, text, strlen(text), &err) > 0);
    if (target_read(target, &head, &err))
        fail_msg("%s: %s", text, err.message);
    struct forward *forward = forward_new(&head);
    target_write_request(target, &forward->head, &forward->request, out);
    return forward;
}

static void test_a_request_is_written_anew(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"GET http://a.test HTTP/1.1\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"},
        {"GET HTTP://A.Test:80?q HTTP/1.0\r\n\r\n",
         "GET /?q HTTP/1.0\r\nHost: a.test\r\nConnection: close\r\n\r\n"},
        {"GET http://[2001:db8::1]:8080/x HTTP/1.1\r\nhOst: [2001:DB8:0::1]:8080\r\n\r\n",
         "GET /x HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nConnection: close\r\n\r\n"},
        {"PUT http://a.test/ HTTP/1.1\r\nContent-Length: 0\r\nA:b\r\n\r\n",
         "PUT / HTTP/1.1\r\nHost: a.test\r\nA: b\r\nContent-Length: 0\r\nConnection: "
         "close\r\n\r\n"},
        {"PUT http://a.test/ HTTP/1.1\r\nTRANSFER-ENCODING: Chunked\r\nConnection: x , "
         "Y\r\nX: 1\r\nY: 2\r\nZ: 3\r\nUpgrade: h2c\r\nProxy-Authorization: z\r\n\r\n",
         "PUT / HTTP/1.1\r\nHost: a.test\r\nZ: 3\r\nTransfer-Encoding: chunked\r\nConnection: "
         "close\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out;
        struct target target;
        buf_init(&out, TARGET_HEAD_MAX);
        struct forward *forward = forward_of(cases[i].in, &target, &out);
        assert_string_equal(out.data, cases[i].out);
        forward_free(forward);
        buf_release(&out);
    }
}

/* The largest head there can be still fits where it is promised to. */
static void test_the_largest_head(void **state)
{
    struct buf in, out;
    struct target target;
    buf_init(&in, HTTP_HEAD_MAX);
    buf_init(&out, TARGET_HEAD_MAX);
    buf_append_str(&in, "GET http://a.test/ HTTP/1.1\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX - 1; i++)
        buf_append_str(&in, "a:b\r\n");
    buf_append_str(&in, "c:");
    while (in.len < HTTP_HEAD_MAX - 4)
        buf_append_char(&in, 'd');
    buf_append_str(&in, "\r\n\r\n");
    forward_free(forward_of(in.data, &target, &out));
    assert_true(out.len > in.len);
    buf_release(&in);
    buf_release(&out);
}

/* Whatever pieces a stream comes in, the same goes out. */
static void feed_in_pieces(flow_filter_fn *filter, const char *head, const char *in,
                           const char *out, int last)
{
    for (size_t step = 1; step <= strlen(in); step++) {
        struct buf written, passed;
        struct target target;
        buf_init(&written, TARGET_HEAD_MAX);
        buf_init(&passed, FORWARD_OUT_MAX);
        struct forward *forward = forward_of(head, &target, &written);
        int status = 0;
        for (size_t at = 0; at < strlen(in) && status == 0; at += step) {
            size_t len = strlen(in) - at < step ? strlen(in) - at : step;
            status = filter(forward, in + at, len, &passed);
        }
        if (status == 0)
            status = filter(forward, "", 0, &passed);
        assert_int_equal(status, last);
        if (out)
            assert_string_equal(passed.data, out);
        forward_free(forward);
        buf_release(&written);
        buf_release(&passed);
    }
}

static const char get[] = "GET http://a.test/ HTTP/1.1\r\n\r\n";

static void test_answers_in_pieces(void **state)
{
    feed_in_pieces(forward_response, get,
                   "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nConnection: x\r\nX: "
                   "1\r\nContent-Length: 5\r\n\r\nhelloworld",
                   "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nContent-Length: "
                   "5\r\nConnection: close\r\n\r\nhello",
                   1);
    feed_in_pieces(forward_response, get,
                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nT: "
                   "1\r\n\r\nbehind",
                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: "
                   "close\r\n\r\n2;x\r\nab\r\n0\r\nT: 1\r\n\r\n",
                   1);
    feed_in_pieces(forward_response, get, "HTTP/1.0 200 \r\n\r\nup to the end",
                   "HTTP/1.0 200 \r\nConnection: close\r\n\r\nup to the end", 1);
    feed_in_pieces(forward_response, "HEAD http://a.test/ HTTP/1.1\r\n\r\n",
                   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", 1);
    feed_in_pieces(forward_response, get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", NULL,
                   -1);
    feed_in_pieces(forward_response, get, "HTTP/1.1 200 OK\r\n", NULL, -1);
    feed_in_pieces(forward_response, get, "HTTP/1.1 101 Switching\r\n\r\n", NULL, -1);
}

static void test_request_bodies_in_pieces(void **state)
{
    static const char put[] = "PUT http://a.test/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    static const char chunked[] =
        "PUT http://a.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    feed_in_pieces(forward_request, put, "helloGET / HTTP/1.1\r\n\r\n", "hello", 1);
    feed_in_pieces(forward_request, put, "hell", "hell", -1);
    feed_in_pieces(forward_request, chunked, "0;x=y\r\nA: b\r\n\r\nGET /", "0\r\n\r\n", 1);
    feed_in_pieces(forward_request, chunked, "1\r\na\r\n001\r\nb\r\n0\r\n\r\n",
                   "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", 1);
    feed_in_pieces(forward_request, chunked, "1\r\nab", NULL, -1);
}

/* ---- TLS */

/* A greeting for NAME (NULL: without server_name) into OUT; returns its length. */
static size_t make_hello(unsigned char *out, const char *name, unsigned extra_type)
{
    unsigned char extensions[600];
    size_t n = 0, name_len = name ? strlen(name) : 0;
    if (name) {
        const size_t numbers[] = {0, name_len + 5, name_len + 3};
        for (int i = 0; i < 3; i++) {
            extensions[n++] = (unsigned char)(numbers[i] >> 8);
            extensions[n++] = (unsigned char)numbers[i];
        }
        extensions[n++] = 0;
        extensions[n++] = (unsigned char)(name_len >> 8);
        extensions[n++] = (unsigned char)name_len;
        memcpy(extensions + n, name, name_len);
        n += name_len;
    }
    if (extra_type) {
        const unsigned char extra[] = {(unsigned char)(extra_type >> 8), (unsigned char)extra_type,
                                       0, 1, 7};
        memcpy(extensions + n, extra, sizeof extra);
        n += sizeof extra;
    }
    size_t body = 2 + 32 + 1 + 4 + 2 + 2 + n, at = 0;
    const unsigned char head[] = {22,
                                  3,
                                  1,
                                  (unsigned char)((body + 4) >> 8),
                                  (unsigned char)(body + 4),
                                  1,
                                  0,
                                  (unsigned char)(body >> 8),
                                  (unsigned char)body,
                                  3,
                                  3};
    memcpy(out, head, sizeof head);
    at = sizeof head;
    memset(out + at, 0x11, 32);
    at += 32;
    const unsigned char middle[] = {
        0, 0, 2, 0x13, 1, 1, 0, (unsigned char)(n >> 8), (unsigned char)n};
    memcpy(out + at, middle, sizeof middle);
    at += sizeof middle;
    memcpy(out + at, extensions, n);
    return at + n;
}

static void test_greetings(void **state)
{
    static const struct {
        const char *host, *name;
        unsigned extra;
        enum tls_hello expected;
    } cases[] = {
        {"a.test", "a.test", 0, TLS_HELLO_SAME},     {"a.test", "A.TEST", 0x10, TLS_HELLO_SAME},
        {"a.test", "b.test", 0, TLS_HELLO_OTHER},    {"a.test", "a.test.", 0, TLS_HELLO_OTHER},
        {"a.test", "xa.test", 0, TLS_HELLO_OTHER},   {"a.test", NULL, 0x10, TLS_HELLO_OTHER},
        {"a.test", "", 0, TLS_HELLO_OTHER},          {"a.test", "a.test", 0xfe0d, TLS_HELLO_HIDDEN},
        {"192.0.2.1", NULL, 0x10, TLS_HELLO_SAME},   {"192.0.2.1", "192.0.2.1", 0, TLS_HELLO_SAME},
        {"192.0.2.1", "a.test", 0, TLS_HELLO_OTHER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[1024];
        struct net_host host;
        size_t len = make_hello(bytes, cases[i].name, cases[i].extra);
        assert_int_equal(net_host_parse(&host, cases[i].host, strlen(cases[i].host), NULL), 0);
        assert_int_equal(tls_hello_read(bytes, len, &host), cases[i].expected);
        assert_int_equal(tls_hello_read(bytes, len + 1, &host), cases[i].expected);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(tls_hello_read(bytes, cut, &host), TLS_HELLO_UNFINISHED);
    }
}

/* No byte of a greeting can be changed so that it is read outside of its bounds, or that another
 * host passes for this one. */
static void test_broken_greetings(void **state)
{
    unsigned char bytes[1024];
    struct net_host host, other;
    size_t len = make_hello(bytes, "a.test", 0x10);
    assert_int_equal(net_host_parse(&host, "a.test", 6, NULL), 0);
    assert_int_equal(net_host_parse(&other, "zz.test", 7, NULL), 0);
    for (size_t at = 0; at < len; at++) {
        unsigned char before = bytes[at];
        for (int value = 0; value < 256; value++) {
            bytes[at] = (unsigned char)value;
            unsigned char *exact = malloc(len); /* for the sanitizers */
            memcpy(exact, bytes, len);
            tls_hello_read(exact, len, &host);
            assert_int_not_equal(tls_hello_read(exact, len, &other), TLS_HELLO_SAME);
            free(exact);
        }
        bytes[at] = before;
    }
}

/* ---- what is said */

static void test_every_refusal_has_a_sentence(void **state)
{
    struct net_host host;
    assert_int_equal(net_host_parse(&host, "fd00::1", 7, NULL), 0);
    for (int verdict = EGRESS_ALLOWED + 1; verdict < EGRESS_VERDICT_COUNT; verdict++) {
        struct buf out;
        buf_init(&out, 1024);
        egress_explain(verdict, &host, 8080, &host.address, &out);
        assert_true(out.len > 20);
        assert_null(strchr(out.data, '\n'));
        const char *advice = strstr(out.data, "add '");
        if (advice && !strstr(advice, "= [fd00::1]:8080'"))
            fail_msg("%s", out.data);
        assert_non_null(egress_verdict_name(verdict));
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_addresses_of_names),
        cmocka_unit_test(test_the_repository_narrows),
        cmocka_unit_test(test_what_is_no_narrowing_leaves_nothing),
        cmocka_unit_test(test_a_request_is_written_anew),
        cmocka_unit_test(test_the_largest_head),
        cmocka_unit_test(test_answers_in_pieces),
        cmocka_unit_test(test_request_bodies_in_pieces),
        cmocka_unit_test(test_greetings),
        cmocka_unit_test(test_broken_greetings),
        cmocka_unit_test(test_every_refusal_has_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
