#include "test.h"

#include "base/repo_url.h"

static void addresses_are_taken_apart(void **state)
{
    static const struct {
        const char *from, *text, *site, *host, *user;
        enum repo_scheme scheme;
    } cases[] = {
        {"https://GitHub.com/o/n.git", "https://github.com/o/n.git", "github.com", "github.com", "",
         REPO_HTTPS},
        {"HTTPS://host:443/o/n/", "https://host/o/n", "host", "host", "", REPO_HTTPS},
        {"https://host:8443/a/b/c", "https://host:8443/a/b/c", "host:8443", "host", "", REPO_HTTPS},
        {"http://127.0.0.1:8080/r%20x", NULL, NULL, NULL, NULL, REPO_HTTP},
        {"http://127.0.0.1:8080/r%C3%A4", "http://127.0.0.1:8080/r%C3%A4", "127.0.0.1:8080",
         "127.0.0.1", "", REPO_HTTP},
        {"https://[::1]:8443/r", "https://[::1]:8443/r", "[::1]:8443", "::1", "", REPO_HTTPS},
        {"https://[::1]/r", "https://[::1]/r", "::1", "::1", "", REPO_HTTPS},
        {"ssh://git@host/o/n", "ssh://git@host/o/n", "host", "host", "git", REPO_SSH},
        {"ssh://git@host:22/~me/n", "ssh://git@host/~me/n", "host", "host", "git", REPO_SSH},
        {"ssh://git@host:2222/n", "ssh://git@host:2222/n", "host:2222", "host", "git", REPO_SSH},
        {"git@Host.example:o/n.git", "git@host.example:o/n.git", "host.example", "host.example",
         "git", REPO_SSH},
        {"git@host:/srv/n", "ssh://git@host/srv/n", "host", "host", "git", REPO_SSH},
        {"git@[::1]:n", "git@[::1]:n", "::1", "::1", "git", REPO_SSH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct repo_url url;
        struct err err;
        int status = repo_url_parse(&url, cases[i].from, &err);
        if (!cases[i].text) {
            assert_int_equal(status, ERR_USAGE);
            continue;
        }
        assert_int_equal(status, 0);
        assert_string_equal(url.text, cases[i].text);
        assert_string_equal(url.site, cases[i].site);
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.user, cases[i].user);
        assert_int_equal(url.scheme, cases[i].scheme);
        /* The one form stands for itself. */
        struct repo_url again;
        assert_int_equal(repo_url_parse(&again, url.text, &err), 0);
        assert_string_equal(again.text, url.text);
    }
}

static void what_could_be_something_else_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "/",
        "-",
        "--upload-pack=touch x",
        "-oProxyCommand=x@host:y",
        "ext::sh -c touch",
        "ext::x",
        "https::https://host/x",
        "fd::7",
        "git://host/o/n",
        "ftp://host/o/n",
        "file:///etc",
        "https://",
        "https:///o/n",
        "https://host",
        "https://host/",
        "https://host//n",
        "https://host/../n",
        "https://host/o/..",
        "https://host/o/%2e%2e/n",
        "https://host/o%2fn",
        "https://host/o/n%0a",
        "https://host/o/n%0",
        "https://host/o/n%00",
        "https://host/o/n\n",
        "https://host/o n",
        "https://host/o/n?x=y",
        "https://host/o/n#x",
        "https://host/o/$(x)",
        "https://host/o/`x`",
        "https://host/o/n;x",
        "https://host/o/'n",
        "https://host\\@evil/o",
        "https://ho_st/o",
        "https://h\xc3\xb6st/o",
        "https://-host/o",
        "https://.host/o",
        "https://host./o",
        "https://a..b/o",
        "https://host:/o",
        "https://host:0/o",
        "https://host:65536/o",
        "https://host:80x/o",
        "https://[::1/o",
        "https://[nothing]/o",
        "ssh://host/o/n",
        "ssh://-x@host/o",
        "ssh://git@-oProxyCommand=x/o",
        "ssh://git@host/-x",
        "git@host:-x",
        "git@host:",
        "git@-host:x",
        "host:o/n",
        "@host:x",
        "git@host",
        "git@ho st:x",
        "git@host:x\x1b[2J",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct repo_url url;
        struct err err;
        if (repo_url_parse(&url, bad[i], &err) != ERR_USAGE)
            fail_msg("'%s' passes as '%s'", bad[i], url.text);
        assert_null(strpbrk(err.message, "\n\x1b"));
    }
    char text[REPO_URL_MAX + 64] = "https://host/";
    memset(text + strlen(text), 'a', REPO_URL_MAX);
    struct repo_url url;
    assert_int_equal(repo_url_parse(&url, text, NULL), ERR_USAGE);
}

static void a_login_in_an_address_is_refused_and_never_repeated(void **state)
{
    static const char *const bad[] = {
        "https://secret@host/o",   "https://me:secret@host/o", "http://me:secret@127.0.0.1/o",
        "ssh://git:secret@host/o", "git:secret@host:o",        "https://me:se@cret@host/o"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct repo_url url;
        struct err err;
        assert_int_equal(repo_url_parse(&url, bad[i], &err), ERR_USAGE);
        assert_non_null(strstr(err.message, "token_env"));
        assert_null(strstr(err.message, "secret"));
        assert_null(strstr(err.message, "cret@"));
    }
}

static void remote_is_what_git_takes_for_it(void **state)
{
    static const char *const remote[] = {"https://h/x", "git@h:x", "h:x", "ext::x", "git://h/x"};
    static const char *const local[] = {"/srv/x", "../x", "x", "./a:b", "/a:b", "file:///x", ""};
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        assert_true(repo_url_is_remote(remote[i]));
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        assert_false(repo_url_is_remote(local[i]));
}

static void loopback_is_this_machine(void **state)
{
    static const struct {
        const char *text;
        bool loopback;
    } cases[] = {{"http://localhost/x", true},
                 {"http://127.0.0.1:80/x", true},
                 {"http://127.1.2.3/x", true},
                 {"http://[::1]/x", true},
                 {"http://localhost.evil.example/x", false},
                 {"http://127.0.0.1.evil.example/x", false},
                 {"http://128.0.0.1/x", false},
                 {"http://0.0.0.0/x", false},
                 {"http://2130706433/x", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct repo_url url;
        assert_int_equal(repo_url_parse(&url, cases[i].text, NULL), 0);
        assert_int_equal(repo_url_is_loopback(&url), cases[i].loopback);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(what_could_be_something_else_is_refused),
        cmocka_unit_test(a_login_in_an_address_is_refused_and_never_repeated),
        cmocka_unit_test(remote_is_what_git_takes_for_it),
        cmocka_unit_test(loopback_is_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
