/* Addresses, hosts and rules of the internet. */
#include "test.h"

#include <string.h>

#include "base/net_host.h"
#include "base/net_rule.h"
#include "base/proxy_env.h"
#include "base/sandbox_layout.h"
#include "base/user_env.h"
#include "task/gateway_control.h"

static void check_address(const char *text, const char *canonical)
{
    struct net_address address;
    char shown[NET_ADDRESS_SIZE];
    enum net_address_parsed parsed = net_address_parse(&address, text);
    if (!canonical) {
        assert_int_not_equal(parsed, NET_ADDRESS_OK);
        return;
    }
    assert_int_equal(parsed, NET_ADDRESS_OK);
    net_address_text(&address, shown);
    assert_string_equal(shown, canonical);
}

static void test_notations(void **state)
{
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"127.1", "127.0.0.1"},
        {"127.0.1", "127.0.0.1"},
        {"2130706433", "127.0.0.1"},
        {"0x7f000001", "127.0.0.1"},
        {"0X7F.0.0.1", "127.0.0.1"},
        {"017700000001", "127.0.0.1"},
        {"0177.0.0.01", "127.0.0.1"},
        {"0", "0.0.0.0"},
        {"0x", "0.0.0.0"},
        {"4294967295", "255.255.255.255"},
        {"1.0xffffff", "1.255.255.255"},
        {"1.2.65535", "1.2.255.255"},
        {"::1", "::1"},
        {"::ffff:127.0.0.1", "127.0.0.1"},
        {"0:0:0:0:0:FFFF:7F00:1", "127.0.0.1"},
        {"2001:DB8::1", "2001:db8::1"},
        {"4294967296", NULL},
        {"1.2.3.256", NULL},
        {"1.256.3.4", NULL},
        {"1.2.3.4.5", NULL},
        {"1.2.65536", NULL},
        {"1..2", NULL},
        {"1.2.3.", NULL},
        {".1", NULL},
        {"08", NULL},
        {"1.2.3.0x100", NULL},
        {"1.2.3.4x", NULL},
        {"", NULL},
        {"::1%lo", NULL},
        {"::1::", NULL},
        {"1:2:3", NULL},
        {"example.com", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_address(cases[i].text, cases[i].canonical);
    struct net_address address;
    assert_int_equal(net_address_parse(&address, "example.com"), NET_ADDRESS_NONE);
    assert_int_equal(net_address_parse(&address, "a.256"), NET_ADDRESS_BAD);
    assert_int_equal(net_address_parse(&address, "999999999999999999999"), NET_ADDRESS_BAD);
}

static void test_special(void **state)
{
    static const struct {
        const char *text;
        bool special;
    } cases[] = {
        {"0.255.255.255", true},
        {"1.0.0.0", false},
        {"9.255.255.255", false},
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"11.0.0.0", false},
        {"100.63.255.255", false},
        {"100.64.0.0", true},
        {"100.127.255.255", true},
        {"100.128.0.0", false},
        {"126.255.255.255", false},
        {"127.0.0.0", true},
        {"128.0.0.0", false},
        {"169.253.255.255", false},
        {"169.254.0.0", true},
        {"169.255.0.0", false},
        {"172.15.255.255", false},
        {"172.16.0.0", true},
        {"172.31.255.255", true},
        {"172.32.0.0", false},
        {"192.0.0.255", true},
        {"192.0.1.0", false},
        {"192.167.255.255", false},
        {"192.168.0.0", true},
        {"192.169.0.0", false},
        {"198.17.255.255", false},
        {"198.18.0.0", true},
        {"198.19.255.255", true},
        {"198.20.0.0", false},
        {"223.255.255.255", false},
        {"224.0.0.0", true},
        {"255.255.255.255", true},
        {"8.8.8.8", false},
        {"::", true},
        {"::1", true},
        {"::2", true},
        {"::ffff:8.8.8.8", false},
        {"::ffff:10.0.0.1", true},
        {"64:ff9b::8.8.8.8", false},
        {"64:ff9b::10.0.0.1", true},
        {"64:ff9b:0:0:1::1", true},
        {"64:ff9b:1::8.8.8.8", true},
        {"2002:808:808::", false},
        {"2002:a00:1::", true},
        {"2002:7f00:1::1", true},
        {"2001::1", true},
        {"2001:200::1", false},
        {"2606:4700::1", false},
        {"3fff::1", false},
        {"4000::1", true},
        {"fbff::1", true},
        {"fc00::", true},
        {"fdff:ffff::1", true},
        {"fe80::1", true},
        {"febf::1", true},
        {"fec0::1", true},
        {"ff02::1", true},
        {"1fff::1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_address address;
        assert_int_equal(net_address_parse(&address, cases[i].text), NET_ADDRESS_OK);
        if (!!net_address_special(&address) != cases[i].special)
            fail_msg("%s", cases[i].text);
    }
}

static void test_prefixes(void **state)
{
    static const char *const bad[] = {
        "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1",   "10.0.0.0/", "10.0.0.0/8x",
        "fd00::1/8",  "::/129",      "example.com/8", "/8",        ""};
    struct net_prefix prefix;
    struct net_address address;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(net_prefix_parse(&prefix, bad[i]));
    assert_true(net_prefix_parse(&prefix, "10.1.0.0/16"));
    net_address_parse(&address, "10.1.255.255");
    assert_true(net_prefix_holds(&prefix, &address));
    net_address_parse(&address, "10.2.0.0");
    assert_false(net_prefix_holds(&prefix, &address));
    net_address_parse(&address, "::10.1.0.0");
    assert_false(net_prefix_holds(&prefix, &address));
    assert_true(net_prefix_parse(&prefix, "0.0.0.0/0"));
    net_address_parse(&address, "2001:db8::1");
    assert_false(net_prefix_holds(&prefix, &address));
}

static void test_sockets(void **state)
{
    static const char *const texts[] = {"192.0.2.1", "2001:db8::1"};
    for (int i = 0; i < 2; i++) {
        struct net_address address, back;
        struct sockaddr_storage socket_address;
        net_address_parse(&address, texts[i]);
        socklen_t len = net_address_to_socket(&address, 443, &socket_address);
        assert_int_equal(len, i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
        assert_true(net_address_from_socket(&back, (struct sockaddr *)&socket_address));
        assert_memory_equal(&address, &back, sizeof address);
    }
    struct net_address ignored;
    assert_false(net_address_from_socket(&ignored, &(struct sockaddr){.sa_family = AF_UNIX}));
}

static void check_authority(const char *text, const char *host, int port)
{
    struct net_host parsed;
    struct err err;
    uint16_t found;
    int status = net_host_parse_authority(&parsed, &found, text, strlen(text), &err);
    if (!host) {
        if (status != ERR_USAGE)
            fail_msg("'%s' was taken for '%s'", text, parsed.text);
        return;
    }
    assert_int_equal(status, 0);
    assert_string_equal(parsed.text, host);
    assert_int_equal(found, port);
}

static void test_authorities(void **state)
{
    check_authority("Example.COM", "example.com", 0);
    check_authority("example.com:443", "example.com", 443);
    check_authority("a_b.c-d.e", "a_b.c-d.e", 0);
    check_authority("xn--bcher-kva.example:1", "xn--bcher-kva.example", 1);
    check_authority("[2001:DB8::1]:65535", "2001:db8::1", 65535);
    check_authority("[::ffff:10.0.0.1]", "10.0.0.1", 0);
    check_authority("0x7f.1:80", "127.0.0.1", 80);
    static const char *const bad[] = {
        "",        ":80",    "a:",        "a:0",    "a:65536", "a:8 0",   "a:+8",      "a:080x",
        "a..b",    ".a",     "a.",        "-a",     "a-",      "a.-b",    "a b",       "a%2eb",
        "a@b",     "a/b",    "a\\b",      "a?b",    "a#b",     "ä.de",    "[::1",      "::1",
        "[::1]80", "[::1]:", "[1.2.3.4]", "[a]",    "[]",      "[::1%1]", "1.2.3.4.5", "a:1:2",
        "a\x7f",   "a\n",    "1.2.3.",    "[::1]]", "[[::1]]", "*.a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_authority(bad[i], NULL, 0);
    struct net_host host;
    assert_int_equal(net_host_parse(&host, "a\0b", 3, NULL), ERR_USAGE);
    char longest[NET_HOST_SIZE + 1];
    memset(longest, 'a', sizeof longest);
    for (size_t i = 63; i < sizeof longest; i += 64)
        longest[i] = '.';
    assert_int_equal(net_host_parse(&host, longest, 253, NULL), 0);
    assert_int_equal(net_host_parse(&host, longest, 254, NULL), ERR_USAGE);
}

static bool matches(const char *rule_text, const char *authority)
{
    struct net_rule rule;
    struct net_host host;
    struct err err;
    uint16_t port;
    assert_int_equal(net_rule_parse(&rule, rule_text, &err), 0);
    assert_int_equal(net_host_parse_authority(&host, &port, authority, strlen(authority), &err), 0);
    bool result = net_rule_has_host(&rule, &host) && net_rule_has_port(&rule, port);
    net_rule_release(&rule);
    return result;
}

static void test_rules(void **state)
{
    assert_true(matches("example.com", "example.com:443"));
    assert_true(matches("Example.COM", "example.com:80"));
    assert_false(matches("example.com", "example.com:8080"));
    assert_true(matches("example.com:8080", "example.com:8080"));
    assert_false(matches("example.com:8080", "example.com:443"));
    assert_false(matches("example.com", "a.example.com:443"));
    assert_true(matches("*.example.com", "a.b.example.com:443"));
    assert_false(matches("*.example.com", "example.com:443"));
    assert_false(matches("*.example.com", "xexample.com:443"));
    assert_true(matches("*", "example.com:443"));
    assert_true(matches("*", "192.0.2.1:443"));
    assert_true(matches("*:22", "[2001:db8::1]:22"));
}

static void test_rules_of_addresses(void **state)
{
    assert_true(matches("10.0.0.0/8", "10.1.2.3:443"));
    assert_true(matches("10.0.0.0/8:22", "0xa.1:22"));
    assert_false(matches("10.0.0.0/8", "11.0.0.1:443"));
    assert_false(matches("10.0.0.0/8", "10.example.com:443"));
    assert_true(matches("10.1.2.3:5000", "10.1.2.3:5000"));
    assert_true(matches("[2001:db8::]/32:5000", "[2001:db8::7]:5000"));
    assert_true(matches("2001:db8::/32", "[2001:db8::7]:443"));
    assert_true(matches("[2001:db8::7]:5000", "[2001:db8:0::7]:5000"));
    assert_true(matches("0x7f000001:80", "127.1:80"));
}

static void test_bad_rules(void **state)
{
    static const char *const bad[] = {
        "",   "a b",        "*.",         "a.*",    "*a",       "**",  "*.1",    "a:0", "a:x",
        "a:", "*.10.0.0.1", "10.0.0.1/8", "1.2.3/", "http://a", "a/b", "[a]:80", "-x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct net_rule rule;
        struct err err;
        if (net_rule_parse(&rule, bad[i], &err) == 0)
            fail_msg("'%s' was taken for a rule", bad[i]);
        net_rule_release(&rule);
    }
}

/* The variables name the gateway's port; what is set of them reaches a task's commands, as it is. */
static void test_variables(void **state)
{
    char port[8];
    snprintf(port, sizeof port, "%d", GATEWAY_PROXY_PORT);
    assert_string_equal(port, SANDBOX_PROXY_PORT);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    unsetenv("https_proxy");
    char **env = user_env_new(0, "/", NULL);
    assert_string_equal(user_env_get(env, "http_proxy"), "http://127.0.0.1:1");
    assert_null(user_env_get(env, "https_proxy"));
    user_env_free(env);
    size_t count = 0;
    while (proxy_env[count])
        count++;
    assert_true(count > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notations),          cmocka_unit_test(test_special),
        cmocka_unit_test(test_prefixes),           cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_authorities),        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_rules_of_addresses), cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
