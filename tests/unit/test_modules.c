#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "git/modules.h"
#include "orchestrator/internal.h"
#include "orchestrator/modules.h"
#include "orchestrator/repo.h"

#define SHA "0123456789abcdef0123456789abcdef0123456"

static void relative_addresses_stay_on_their_host(void **state)
{
    static const struct {
        const char *url, *relative, *expected;
    } cases[] = {
        {"https://host/o/n.git", "../m.git", "https://host/o/m.git"},
        {"https://host/o/n", "./../m/", "https://host/o/m"},
        {"https://host:8443/o/n", "../../x/y", "https://host:8443/x/y"},
        {"https://host/o/n", "./sub", "https://host/o/n/sub"},
        {"git@host:o/n", "../m", "git@host:o/m"},
        {"git@host:n", "../m", "git@host:m"},
        {"git@[::1]:o/n", "../m", "git@[::1]:o/m"},
        {"ssh://git@host:2222/o/n", "../m", "ssh://git@host:2222/o/m"},
        {"https://host/o/n", "../../../m", NULL},
        {"https://host/o/n", "../..", NULL},
        {"https://host/o/n", "../../", NULL},
        {"https://host/o/n", "../a/../../../b", NULL},
        {"https://host/o/n", "../m?x", NULL},
        {"git@host:n", "../../m", NULL},
        {"https://host/n", "..//evil.example/x", NULL},
        {"git@host:n", "../:x::y", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct repo_url url, out;
        struct err err;
        assert_int_equal(repo_url_parse(&url, cases[i].url, &err), 0);
        int status = modules_resolve_relative(&url, cases[i].relative, &out, &err);
        if (!cases[i].expected) {
            assert_int_equal(status, ERR_USAGE);
            continue;
        }
        assert_int_equal(status, 0);
        assert_string_equal(out.text, cases[i].expected);
    }
}

struct fixture {
    struct config config;
    struct secrets secrets;
    struct orchestrator o;
};

/* A server with one forge, without any key. */
static void set_up(struct fixture *f)
{
    *f = (struct fixture){0};
    f->config.internet = (char *)"public";
    f->config.forges_count = 1;
    f->config.forges[0].name = (char *)"host";
    f->o.config = &f->config;
    f->o.secrets = &f->secrets;
}

static void check(struct fixture *f, const char *repo, const char *url, const char *expected,
                  bool stranger)
{
    char *text;
    bool is_stranger = false;
    struct err err;
    int status = repo_check_module(&f->o, repo, url, &text, &is_stranger, &err);
    if (!expected) {
        assert_true(status < 0);
        assert_null(text);
        return;
    }
    assert_int_equal(status, 0);
    assert_string_equal(text, expected);
    assert_int_equal(is_stranger, stranger);
    free(text);
}

static void what_a_stranger_names_is_a_strangers(void **state)
{
    struct fixture f;
    struct modules modules;
    set_up(&f);
    modules_init(&modules);
    char lines[256];
    snprintf(lines, sizeof lines, "module %040d https://other/lib lib\n", 1);
    modules_take(&modules, &f.o, "https://host/o/n", NULL, lines);
    snprintf(lines, sizeof lines, "module %040d https://host/o/secrets deep\n", 2);
    modules_take(&modules, &f.o, "https://host/o/n", &modules.list[0], lines);
    snprintf(lines, sizeof lines, "module %040d https://host/o/ours ours\n", 3);
    modules_take(&modules, &f.o, "https://host/o/n", NULL, lines);
    assert_int_equal(modules.count, 3);
    assert_true(modules.list[0].stranger && modules.list[1].stranger && !modules.list[2].stranger);
    assert_int_equal(modules.list[1].depth, 2);
    modules_release(&modules);
}

static void logins_are_for_the_own_host_alone(void **state)
{
    struct fixture f;
    set_up(&f);
    const char *repo = "https://host/o/n";
    check(&f, repo, "https://host/o/m", "https://host/o/m", false);
    check(&f, repo, "https://other/o/m", "https://other/o/m", true);
    check(&f, repo, "https://host:8443/o/m", "https://host:8443/o/m", true);
    check(&f, repo, "https://host.other/o/m", "https://host.other/o/m", true);
    check(&f, "https://other/o/n", "https://host/o/m", "https://host/o/m", true);
    /* Without a key, what https serves, too. */
    check(&f, repo, "git@host:o/m", "https://host/o/m", false);
    check(&f, repo, "ssh://git@host/o/m", "https://host/o/m", false);
    check(&f, repo, "ssh://git@host:2222/o/m", NULL, false);
    check(&f, repo, "git@other:o/m", NULL, false);
    f.secrets.forges[0].ssh_key = f.secrets.forges[0].known_hosts = (char *)"key";
    check(&f, repo, "git@host:o/m", "git@host:o/m", false);
    check(&f, "git@host:o/n", "git@host:o/m", "git@host:o/m", false);
    check(&f, "git@other:o/n", "git@host:o/m", NULL, false);
    /* As whom is not for the repository to say. */
    check(&f, repo, "ssh://root@host/srv/x", NULL, false);
    check(&f, "git@host:o/n", "root@host:/srv/x", NULL, false);
    check(&f, "me@host:o/n", "git@host:o/m", NULL, false);
    check(&f, "me@host:o/n", "me@host:o/m", "me@host:o/m", false);
    /* Plain http to others only where it is allowed. */
    check(&f, repo, "http://host/o/m", NULL, false);
    check(&f, repo, "http://other/o/m", NULL, false);
    check(&f, repo, "http://127.0.0.1:1/m", "http://127.0.0.1:1/m", true);
    f.config.forges[0].allow_http = true;
    check(&f, repo, "http://host/o/m", "http://host/o/m", false);
    check(&f, "https://other/x", "http://host/o/m", "http://host/o/m", true);
    f.config.internet = (char *)"off";
    check(&f, repo, "https://other/o/m", NULL, false);
    check(&f, repo, "https://host/o/m", "https://host/o/m", false);
}

static void what_is_taken_up_is_bounded(void **state)
{
    struct fixture f;
    struct modules modules;
    char line[256];
    set_up(&f);
    modules_init(&modules);
    modules_take(
        &modules, &f.o, "https://host/n", NULL,
        "module " SHA "a https://host/a path with spaces\nmodule " SHA "a https://host/a again\n"
        "note submodule 'x' was left out: y\nmodule " SHA "\nmodule short https://host/a p\n"
        "module " SHA "b file:///x p\nnonsense\n\nmodule\nnote\n");
    assert_int_equal(modules.count, 1);
    assert_string_equal(modules.list[0].path, "path with spaces");
    assert_string_equal(modules.list[0].url, "https://host/a");
    assert_int_equal(modules.list[0].depth, 1);
    assert_non_null(strstr(modules.notes.data, "submodule 'x' was left out: y\n"));
    assert_non_null(strstr(modules.notes.data, "submodule 'p' was left out: this address"));
    const struct module deepest = {.depth = MODULES_DEPTH_MAX};
    modules_take(&modules, &f.o, "https://host/n", &deepest,
                 "module " SHA "c https://host/c deep\n");
    assert_int_equal(modules.count, 1);
    assert_non_null(strstr(modules.notes.data, "'deep' was left out: it is nested too deep"));
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(line, sizeof line, "module %040x https://host/c many\n", i);
        modules_take(&modules, &f.o, "https://host/n", &modules.list[0], line);
    }
    assert_int_equal(modules.count, MODULES_MAX);
    assert_true(modules.notes.len <= modules.notes.max);
    assert_false(modules.incomplete);
    /* Another address is tried for the same commit, unless it has come. */
    strcpy(modules.list[1].commit, SHA "a");
    assert_int_equal(modules_next_missing(&modules, 1), 1);
    modules.list[0].there = true;
    assert_int_equal(modules_next_missing(&modules, 0), 2);
    modules_leave_out(&modules, &modules.list[0], true, "it is away");
    assert_true(modules.incomplete);
    modules_release(&modules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relative_addresses_stay_on_their_host),
        cmocka_unit_test(logins_are_for_the_own_host_alone),
        cmocka_unit_test(what_a_stranger_names_is_a_strangers),
        cmocka_unit_test(what_is_taken_up_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
