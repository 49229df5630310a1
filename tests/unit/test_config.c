#include "test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/internet.h"
#include "config/paths.h"

static void refuse(const char *text, const char *expected)
{
    struct config config;
    struct err err = {0};
    config_init(&config);
    int status = config_parse(&config, "c", text, strlen(text), &err);
    assert_string_equal(err.message, expected);
    assert_true(status < 0 && status == err.code);
    config_release(&config);
}

static void accept(struct config *config, const char *text)
{
    struct err err = {0};
    config_init(config);
    if (config_parse(config, "c", text, strlen(text), &err) < 0)
        fail_msg("%s", err.message);
}

static void every_key_reaches_its_field(void **state)
{
    struct config c;
    accept(
        &c,
        "[server]\nuser = u\nsocket = /s\nmax_running = 8\n"
        "[model]\nname = o3\nprovider = p\neffort = xhigh\n"
        "[provider \"p\"]\nbase_url = https://h/v1//\nwire_api = responses\nenv_key = K\n"
        "first_byte_timeout = 2m\nidle_timeout = 90s\n"
        "[provider \"r\"]\nwire_api = replay\nfile = /f\n"
        "[sandbox]\nruntime = /usr/bin/crun\nimages = /i\nmemory = 512M\ncpus = 1.25\npids = 64\n"
        "[task]\ntimeout = 1h\ntest_timeout = 5m\nverify_rounds = 0\nbudget_tokens = 5\n"
        "[git]\nauthor_name = A B\nauthor_email = a@b\nfetch_timeout = 5m\nstall_timeout = 9s\nlarge_files = 5M\n"
        "[forge \"github.com\"]\nkind = github\ntoken_env = T\nbase_url = https://api\n"
        "[forge \"git.example:8443\"]\nkind = gitea\ntoken_file = /t\nuser = me\nca_file = /c\n"
        "ssh_key_file = /k\nknown_hosts = /h\nallow_http = yes\n");
    assert_string_equal(c.user, "u");
    assert_string_equal(c.socket, "/s");
    assert_int_equal(c.max_running, 8);
    assert_string_equal(c.model, "o3");
    assert_string_equal(c.effort, "xhigh");
    const struct config_provider *p = config_provider_find(&c, "p");
    assert_string_equal(p->base_url, "https://h/v1");
    assert_string_equal(p->env_key, "K");
    assert_int_equal(p->first_byte_timeout_ms, 120000);
    assert_int_equal(p->idle_timeout_ms, 90000);
    assert_int_equal(config_provider_find(&c, "r")->wire_api, WIRE_REPLAY);
    assert_string_equal(config_provider_find(&c, "r")->file, "/f");
    assert_null(config_provider_find(&c, "q"));
    assert_string_equal(c.runtime, "/usr/bin/crun");
    assert_string_equal(c.images, "/i");
    assert_int_equal(c.memory_bytes, 512 << 20);
    assert_int_equal(c.cpu_milli, 1250);
    assert_int_equal(c.pids, 64);
    assert_int_equal(c.timeout_ms, 3600000);
    assert_int_equal(c.test_timeout_ms, 300000);
    assert_int_equal(c.verify_rounds, 0);
    assert_int_equal(c.budget_tokens, 5);
    assert_string_equal(c.author_name, "A B");
    assert_string_equal(c.author_email, "a@b");
    assert_string_equal(c.forges[0].name, "github.com");
    assert_string_equal(c.forges[0].token_env, "T");
    assert_false(c.forges[0].allow_http);
    const struct config_forge *f = config_forge_find(&c, "GIT.example:8443");
    assert_string_equal(f->token_file, "/t");
    assert_string_equal(f->user, "me");
    assert_string_equal(f->ssh_key_file, "/k");
    assert_string_equal(f->known_hosts, "/h");
    assert_string_equal(f->ca_file, "/c");
    assert_true(f->allow_http);
    assert_null(config_forge_find(&c, "git.example"));
    assert_int_equal(c.fetch_timeout_ms, 300000);
    assert_int_equal(c.stall_timeout_ms, 9000);
    assert_int_equal(c.large_files_bytes, 5 << 20);
    config_release(&c);
    accept(&c, "[git]\nlarge_files = off\n");
    assert_int_equal(c.large_files_bytes, 0);
    config_release(&c);
}

static void forges_have_kinds_and_safe_addresses(void **state)
{
    struct config c;
    accept(&c, "[forge \"GitHub.com\"]\ntoken_env = T\n[forge \"acme.ghe.com\"]\ntoken_env = T\n"
               "[forge \"git.test\"]\ntoken_env = T\nbase_url = http://127.0.0.1:8080/api\n"
               "[forge \"hub.test\"]\nbase_url = http://hub.test/api\nallow_http = yes\n");
    assert_string_equal(config_forge_find(&c, "github.com")->kind, "github");
    assert_string_equal(config_forge_find(&c, "acme.ghe.com")->kind, "github");
    assert_null(config_forge_find(&c, "git.test")->kind);
    config_release(&c);
    accept(&c, "[forge \"github.com\"]\nkind = plain\n");
    assert_string_equal(c.forges[0].kind, "plain");
    config_release(&c);
    refuse("[forge \"hub.test\"]\nbase_url = http://hub.test/api\n",
           "c:1: forge 'hub.test' has a base_url of http://, which hands the token to everybody on "
           "the way: write https://, or set allow_http = yes");
}

/* Lists grow line by line; all of it reaches the gateway. */
static void what_tasks_may_reach(void **state)
{
    struct config c;
    struct buf json;
    buf_init(&json, 1 << 16);
    accept(&c, "");
    config_internet_json(&c, &json);
    assert_string_equal(json.data, "{\"access\":\"public\",\"allow\":[],\"allow_private\":[],"
                                   "\"resolver\":null}");
    config_release(&c);
    buf_clear(&json);
    accept(&c, "[internet]\naccess = list\nallow = a.test, *.B.test:8443\nallow = [2001:db8::]/32\n"
               "allow_private = 10.0.0.0/8:5000  mirror.corp  # ours\nresolver = 127.0.0.1:5353\n");
    config_internet_json(&c, &json);
    assert_string_equal(json.data, "{\"access\":\"list\",\"allow\":[\"a.test\",\"*.B.test:8443\","
                                   "\"[2001:db8::]/32\"],\"allow_private\":[\"10.0.0.0/8:5000\","
                                   "\"mirror.corp\"],\"resolver\":\"127.0.0.1:5353\"}");
    config_release(&c);
    buf_release(&json);
    refuse("[internet]\naccess = yes\n",
           "c:2: access: 'yes' is not an access: off, common, list or public");
    refuse("[internet]\nallow = a.test, http://b.test/\n",
           "c:2: allow: 'http://b.test/': write the host alone, without http:// and path");
    refuse("[internet]\nallow_private = 10.0.0.1/8\n",
           "c:2: allow_private: '10.0.0.1/8' is not a network like 10.1.0.0/16 (with zeros behind "
           "its length)");
    refuse("[internet]\nallow = a.test:0\n", "c:2: allow: '0' is not a port from 1 to 65535");
    refuse("[internet]\nresolver = dns.corp\n",
           "c:2: resolver: 'dns.corp' is not the address of a name server, like 192.0.2.53 or "
           "127.0.0.1:5353");
    refuse("[internet]\naccess = off\naccess = off\n", "c:3: 'access' is given twice");
}

static void indentation_and_comments_do_no_harm(void **state)
{
    struct config c;
    accept(&c, "\xef\xbb\xbf# first\n[model] ; here\n  name = o3   # and here\n\teffort = low\r\n\n"
               "[git]\nauthor_name = A#B;C");
    assert_string_equal(c.model, "o3");
    assert_string_equal(c.effort, "low");
    assert_string_equal(c.author_name, "A#B;C");
    config_release(&c);
}

static void a_mistake_names_its_line(void **state)
{
    refuse("[modle]\n", "c:1: unknown section [modle]");
    refuse("[model]\nname = x\n[model]\nnam = y\n", "c:4: unknown key 'nam' in [model]");
    refuse("name = x\n", "c:1: 'name' stands before the first [section]");
    refuse("[model]\nname = x\n\njunk\n", "c:4: neither 'key = value' nor '[section]'");
    refuse("[model]\njunk\nnam = y\n", "c:2: neither 'key = value' nor '[section]'");
    refuse("[model]\nname =\n", "c:2: 'name' has no value");
    refuse("[model]\nname = a\nname = b\n", "c:3: 'name' is given twice");
    refuse("[model\nname = a\n", "c:1: '[model' is not a section: write [name]");
    refuse("[model] x\n", "c:1: '[model] x' is not a section: write [name]");
    refuse("[model \"x\"]\n", "c:1: bad section [model \"x\"]: write [model]");
    refuse("[provider]\n", "c:1: bad section [provider]: write [provider \"name\"]");
    refuse("[provider \"\"]\n", "c:1: bad section [provider \"\"]: write [provider \"name\"]");
    refuse("[provider \"a b\"]\n",
           "c:1: bad section [provider \"a b\"]: write [provider \"name\"]");
    refuse("[provider \"p\"]\nkind = x\n", "c:2: unknown key 'kind' in [provider]");
}

static void a_bad_value_says_what_a_good_one_is(void **state)
{
    refuse("[model]\neffort = max\n",
           "c:2: effort: 'max' is not an effort: low, medium, high or xhigh");
    refuse("[server]\nmax_running = 0\n", "c:2: max_running: '0' is not a number from 1 to 1000");
    refuse("[server]\nsocket = s\n", "c:2: socket: 's' is not an absolute path");
    refuse("[task]\ntimeout = 8 hours\n",
           "c:2: timeout: '8 hours' is not a duration like 90s, 15m, 8h or 2d (at most 30d)");
    refuse("[sandbox]\nmemory = 4\n",
           "c:2: memory: '4' is not a size like 512M or 4G (from 64M to 1024G)");
    refuse("[sandbox]\nmemory = 9999999999999999999G\n",
           "c:2: memory: '9999999999999999999G' is not a size like 512M or 4G (from 64M to 1024G)");
    static const char *const cpus[] = {"x", "1.", ".5", "1.2345", "-1", "0.01", "123456", "1 2"};
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++) {
        char text[64], expected[128];
        snprintf(text, sizeof text, "[sandbox]\ncpus = %s\n", cpus[i]);
        snprintf(expected, sizeof expected,
                 "c:2: cpus: '%s' is not a number of cores like 2 or 1.5 (0: no limit)", cpus[i]);
        refuse(text, expected);
    }
    refuse("[provider \"p\"]\nbase_url = ftp://x\n",
           "c:2: base_url: 'ftp://x' is not an http:// or https:// address");
    refuse("[model]\nname = my model\n",
           "c:2: name: 'my model' has a space, a quote or a letter that is not ASCII");
    refuse("[provider \"x\"]\nbase_url = http://x/\"a\n",
           "c:2: base_url: 'http://x/\"a' has a space, a quote or a letter that is not ASCII");
    refuse("[provider \"p\"]\nwire_api = soap\n",
           "c:2: wire_api: 'soap' is not a wire_api: responses, chat, messages or replay");
    refuse("[provider \"p\"]\nheader.Host = x\n", "c:2: header.Host: this header cannot be set");
    refuse("[provider \"p\"]\nheader.proxy-x = x\n",
           "c:2: header.proxy-x: this header cannot be set");
    refuse("[provider \"p\"]\nheader.A B = x\n", "c:2: header.A B: 'A B' is not a name");
    refuse("[provider \"p\"]\nquery. = x\n", "c:2: query.: '' is not a name");
    refuse("[provider \"p\"]\nheader.X = \n", "c:2: 'header.X' has no value");
    refuse("[provider \"p\"]\nheader.X = \xc3\xa9\n",
           "c:2: header.X: only printable ASCII characters are allowed");
    refuse("[provider \"p\"]\nheader.X = a ${KEY}\n",
           "c:2: header.X: write ${env:NAME} or ${file:/path} at '${KEY}'");
    refuse("[provider \"p\"]\nheader.X = ${env:}\n",
           "c:2: header.X: write ${env:NAME} or ${file:/path} at '${env:}'");
    refuse("[provider \"p\"]\nheader.X = ${file:here}\n",
           "c:2: header.X: write ${env:NAME} or ${file:/path} at '${file:here}'");
    refuse("[provider \"p\"]\nheader.X = a\nheader.x = b\n", "c:3: 'header.x' is given twice");
    refuse("[server]\nheader.X = a\n", "c:2: unknown key 'header.X' in [server]");
    /* A key in the place of its name is not told. */
    refuse("[provider \"p\"]\nenv_key = sk-abc\n",
           "c:2: env_key: not the name of a key: letters, digits and '_', at most 64 of them (the "
           "key itself does not belong here: 'codex secret set NAME')");
}

static void sections_must_fit_together(void **state)
{
    refuse("[model]\nname = m\nprovider = p\n", "c:3: there is no section [provider \"p\"]");
    refuse("\n[provider \"p\"]\nenv_key = K\n", "c:2: provider 'p' has no base_url");
    refuse("[provider \"p\"]\nwire_api = replay\n",
           "c:1: provider 'p' replays recorded turns but has no file");
}

static void every_wire_has_its_name(void **state)
{
    static const char *const wires[] = {"responses", "chat", "messages"};
    for (size_t i = 0; i < 3; i++) {
        char text[100], bad[100];
        snprintf(text, sizeof text, "[provider \"p\"]\nbase_url = http://h\nwire_api = %s\n",
                 wires[i]);
        struct config c;
        accept(&c, text);
        assert_string_equal(wire_api_name(c.providers[0].wire_api), wires[i]);
        config_release(&c);
        snprintf(bad, sizeof bad, "[provider \"p\"]\nwire_api = %s\n", wires[i]);
        refuse(bad, "c:1: provider 'p' has no base_url");
    }
}

static void long_lines_and_names_are_refused(void **state)
{
    char text[512];
    memset(text, 'x', sizeof text);
    memcpy(text, "[model]\nname = ", 15);
    text[400] = '\0';
    refuse(text, "c:2: line longer than 190 bytes");
    /* inih keeps 49 characters of a section's name: ours is not cut. */
    struct config c;
    accept(&c, "[forge \"a-host-name-that-is-longer-than-forty-nine-characters.example.org\"]\n"
               "kind = plain\n");
    assert_string_equal(c.forges[0].name,
                        "a-host-name-that-is-longer-than-forty-nine-characters.example.org");
    config_release(&c);
    char many[4096] = "";
    for (int i = 0; i <= CONFIG_FORGES_MAX; i++)
        sprintf(many + strlen(many), "[forge \"f%d\"]\n", i);
    refuse(many, "c:17: too many sections like [forge \"f16\"]");
}

static void paths_follow_the_environment(void **state)
{
    struct paths paths;
    struct config config;
    struct err err = {0};
    char dir[] = "/tmp/test-config-XXXXXX";
    assert_non_null(mkdtemp(dir));
    setenv("XDG_CONFIG_HOME", dir, 1);
    unsetenv("CODEX_CONFIG");
    setenv("CODEX_STATE_DIR", "/state", 1);
    unsetenv("CODEX_SOCKET");
    assert_int_equal(paths_find(&paths, &config, NULL, &err), 0);
    assert_string_equal(paths.state, "/state");
    assert_string_equal(paths.socket, "/state/codexd.sock");
    paths_release(&paths);
    config_release(&config);

    char file[64];
    snprintf(file, sizeof file, "%s/codex", dir);
    assert_int_equal(mkdir(file, 0700), 0);
    snprintf(file, sizeof file, "%s/codex/codex.conf", dir);
    FILE *f = fopen(file, "w");
    fputs("[server]\nsocket = /from/config\n", f);
    fclose(f);
    assert_int_equal(paths_find(&paths, &config, NULL, &err), 0);
    assert_string_equal(paths.config, file);
    assert_string_equal(paths.socket, "/from/config");
    paths_release(&paths);
    config_release(&config);

    setenv("CODEX_SOCKET", "relative", 1);
    assert_true(paths_find(&paths, &config, NULL, &err) < 0);
    assert_string_equal(err.message, "CODEX_SOCKET is 'relative', which is not an absolute path");
    setenv("CODEX_SOCKET", "/from/env", 1);
    assert_int_equal(paths_find(&paths, &config, file, &err), 0);
    assert_string_equal(paths.socket, "/from/env");
    paths_release(&paths);
    config_release(&config);

    setenv("CODEX_CONFIG", "/nonexistent/codex.conf", 1);
    assert_int_equal(paths_find(&paths, &config, NULL, &err), -ENOENT);
    assert_string_equal(err.message,
                        "cannot open '/nonexistent/codex.conf': No such file or directory");
    unlink(file);
    *strrchr(file, '/') = '\0';
    rmdir(file);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_reaches_its_field),
        cmocka_unit_test(forges_have_kinds_and_safe_addresses),
        cmocka_unit_test(what_tasks_may_reach),
        cmocka_unit_test(indentation_and_comments_do_no_harm),
        cmocka_unit_test(a_mistake_names_its_line),
        cmocka_unit_test(a_bad_value_says_what_a_good_one_is),
        cmocka_unit_test(sections_must_fit_together),
        cmocka_unit_test(every_wire_has_its_name),
        cmocka_unit_test(long_lines_and_names_are_refused),
        cmocka_unit_test(paths_follow_the_environment),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
