#include "scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "workspace/deps.h"
#include "workspace/environment_file.h"
#include "workspace/setup_advice.h"

static const char *missing; /* the one program that is not there */

static bool has_program(void *arg, const char *name)
{
    return !missing || strcmp(missing, name) != 0;
}

static int set_up(void **state)
{
    missing = NULL;
    return scratch_make();
}

/* The commands are TEXT: a line each, "DIR: LINE (FOUND)". */
static void expect(const char *text)
{
    const struct deps_probe probe = {has_program, NULL};
    struct deps_plan plan = {0};
    struct err err;
    AUTO_BUF struct buf out;
    buf_init(&out, 65536);
    buf_append_str(&out, "");
    assert_int_equal(deps_find(scratch, &probe, &plan, &err), 0);
    for (size_t i = 0; i < plan.count; i++)
        buf_appendf(&out, "%s: %s (%s)\n", plan.commands[i].dir, plan.commands[i].line,
                    plan.commands[i].found);
    assert_string_equal(out.data ? out.data : "", text);
    deps_plan_release(&plan);
}

static uint64_t fingerprint(void)
{
    const struct deps_probe probe = {has_program, NULL};
    struct deps_plan plan = {0};
    struct err err;
    assert_int_equal(deps_find(scratch, &probe, &plan, &err), 0);
    uint64_t value = plan.fingerprint;
    deps_plan_release(&plan);
    return value;
}

static const char some[] = "{\"dependencies\":{\"left-pad\":\"1.3.0\"}}";

static void nothing_to_install(void **state)
{
    expect("");
    put("README", "x");
    put("package.json", "{\"scripts\":{\"test\":\"node --test\"},\"dependencies\":{}}");
    put("package-lock.json", "{}");
    put("requirements.txt", "# nothing\n\n");
    put("pyproject.toml", "[tool.pytest.ini_options]\nminversion = '6'\n");
    put("go.mod", "module x\n");
    put("Makefile", "test:\n\ttrue\n");
    put("CMakeLists.txt", "project(x C)\n");
    put("meson.build", "project('x', 'c')\n");
    expect("");
}

static void node_by_its_lock_file(void **state)
{
    put("package.json", some);
    expect(".: npm install --no-package-lock (package.json)\n");
    put("yarn.lock", "");
    expect(".: yarn install --frozen-lockfile --non-interactive (yarn.lock)\n");
    put(".yarnrc.yml", "");
    expect(".: yarn install --immutable (yarn.lock)\n");
    put("pnpm-lock.yaml", "");
    expect(".: pnpm install --frozen-lockfile (pnpm-lock.yaml)\n");
    missing = "pnpm";
    expect(".: npm install -g pnpm && pnpm install --frozen-lockfile (pnpm-lock.yaml)\n");
    put("npm-shrinkwrap.json", "{}");
    expect(".: npm ci (npm-shrinkwrap.json)\n");
    put("package-lock.json", "{}");
    expect(".: npm ci (package-lock.json)\n");
}

static void python_by_its_lock_file(void **state)
{
    put("setup.py", "");
    expect(".: python3 -m pip install -e . (setup.py)\n");
    put("pyproject.toml", "[project]\nname = 'x'\n[project.optional-dependencies]\ndocs = []\n"
                          "test = ['pytest']\ndev=['black']\n[tool.x]\ntesting = 1\n");
    expect(".: python3 -m pip install -e '.[dev,test]' (pyproject.toml)\n");
    put("requirements-dev.txt", "pytest\n");
    put("requirements.txt", "# first\nflask==2\n");
    expect(".: python3 -m pip install -r requirements.txt -r requirements-dev.txt "
           "(requirements.txt)\n"
           ".: python3 -m pip install -e '.[dev,test]' (pyproject.toml)\n");
    put("poetry.lock", "");
    expect(".: poetry install --no-interaction (poetry.lock)\n");
    missing = "poetry";
    expect(".: python3 -m pip install poetry && poetry install --no-interaction (poetry.lock)\n");
    missing = NULL;
    put("uv.lock", "");
    expect(".: uv export --frozen --quiet --no-hashes --output-file /tmp/uv-requirements.txt && "
           "uv pip install --system --break-system-packages -r /tmp/uv-requirements.txt "
           "(uv.lock)\n");
}

static void every_other_kind(void **state)
{
    put("rust/Cargo.toml", "");
    put("rust/Cargo.lock", "");
    put("rust2/Cargo.toml", "");
    put("go/go.mod", "");
    put("go/go.sum", "x v1 h1:=\n");
    put("ruby/Gemfile", "");
    put("ruby/Gemfile.lock", "");
    put("php/composer.json", "{}");
    put("php/composer.lock", "{}");
    put("maven/pom.xml", "");
    put("gradle/build.gradle.kts", "");
    put("gradle/gradlew", "");
    put("make/Makefile", "deps:\n\ttrue\n");
    put("cmake/CMakeLists.txt", "include(FetchContent)\n");
    put("meson/meson.build", "");
    put("meson/subprojects/zlib.wrap", "");
    expect("cmake: cmake -S . -B build-codex (CMakeLists.txt)\n"
           "go: go mod download (go.sum)\n"
           "gradle: sh ./gradlew --no-daemon --quiet testClasses (build.gradle.kts)\n"
           "make: make deps (Makefile)\n"
           "maven: mvn --batch-mode --quiet dependency:go-offline (pom.xml)\n"
           "meson: meson subprojects download (meson.build)\n"
           "php: composer install --no-interaction (composer.lock)\n"
           "ruby: BUNDLE_FROZEN=true bundle install (Gemfile.lock)\n"
           "rust: cargo fetch --locked (Cargo.lock)\n"
           "rust2: cargo fetch (Cargo.toml)\n");
}

static void members_of_a_workspace_are_not_asked_again(void **state)
{
    put("package.json", some);
    put("package-lock.json", "{}");
    put("packages/a/package.json", some);
    put("packages/b/package.json", some);
    put("packages/b/yarn.lock", "");
    put("node_modules/left-pad/package.json", some);
    put("node_modules/left-pad/package-lock.json", "{}");
    put(".hidden/package.json", some);
    put("api/requirements.txt", "flask\n");
    put("one/two/three/four/package-lock.json", "{}"); /* too deep */
    put("one/two/three/four/package.json", some);
    expect(".: npm ci (package-lock.json)\n"
           "api: python3 -m pip install -r requirements.txt (requirements.txt)\n"
           "packages/b: yarn install --frozen-lockfile --non-interactive (yarn.lock)\n");
}

static void the_fingerprint_is_of_what_decides(void **state)
{
    put("package.json", some);
    put("package-lock.json", "{\"a\":1}");
    uint64_t before = fingerprint();
    assert_true(fingerprint() == before);
    put("index.js", "1");
    assert_true(fingerprint() == before);
    put("package-lock.json", "{\"a\":2}");
    assert_true(fingerprint() != before);
}

static void make_reads_the_makefile_that_make_reads(void **state)
{
    static const char *const names[] = {"Makefile", "makefile", "GNUmakefile"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        put(names[i], "deps:\n\ttrue\n");
        AUTO_FREE char *commands = str_format(".: make deps (%s)\n", names[i]);
        expect(commands);
        uint64_t before = fingerprint();
        put(names[i], "deps:\n\tfalse\n");
        assert_true(fingerprint() != before);
    }
}

static uint64_t fingerprint_of_files(void)
{
    struct deps_plan plan = {0};
    struct err err;
    deps_use("make everything", &plan);
    assert_int_equal(deps_mix_files(scratch, &plan, &err), 0);
    assert_int_equal(plan.count, 1);
    uint64_t value = plan.fingerprint;
    deps_plan_release(&plan);
    return value;
}

/* Also of those that another one goes before where commands are found, and of every kind. */
static void lines_of_ones_own_go_by_every_file(void **state)
{
    static const char *const names[] = {"uv.lock",           "poetry.lock",
                                        "requirements.txt",  "requirements/dev.txt",
                                        "package.json",      "package-lock.json",
                                        "pnpm-lock.yaml",    "web/yarn.lock",
                                        "Cargo.lock",        "go.sum",
                                        "Gemfile.lock",      "a/b/c/composer.lock",
                                        "pom.xml",           "build.gradle.kts",
                                        "makefile",          "GNUmakefile",
                                        "Makefile",          "setup.py",
                                        "lib/pyproject.toml"};
    uint64_t last = fingerprint_of_files();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        put(names[i], "1");
        uint64_t there = fingerprint_of_files();
        assert_true(there != last);
        put(names[i], "2");
        last = fingerprint_of_files();
        assert_true(there != last);
    }
    put("index.js", "1");
    put("node_modules/x/package-lock.json", "1");
    put("a/b/c/d/package-lock.json", "1");
    assert_true(fingerprint_of_files() == last);
}

/* A project has one in every directory, and they change with every source file. */
static void of_build_systems_the_outermost_files_count(void **state)
{
    put("CMakeLists.txt", "1");
    uint64_t before = fingerprint_of_files();
    put("src/CMakeLists.txt", "1");
    assert_true(fingerprint_of_files() == before);
    put("meson/meson.build", "1");
    assert_true(fingerprint_of_files() != before);
}

static void there_is_an_end_to_it(void **state)
{
    for (int i = 0; i < DEPS_COMMANDS_MAX + 3; i++) {
        AUTO_FREE char *name = str_format("d%02d/package.json", i);
        put(name, some);
    }
    const struct deps_probe probe = {has_program, NULL};
    struct deps_plan plan = {0};
    struct err err;
    assert_int_equal(deps_find(scratch, &probe, &plan, &err), 0);
    assert_int_equal(plan.count, DEPS_COMMANDS_MAX);
    assert_true(plan.cut);
    deps_plan_release(&plan);
}

static void what_the_repository_says_itself(void **state)
{
    struct environment_file file;
    struct err err;
    assert_int_equal(environment_file_read(scratch, &file, &err), 0);
    put(".codex/environment.conf", "# how to build\n\nsetup = make deps\n  setup= npm ci  \n");
    assert_int_equal(environment_file_read(scratch, &file, &err), 1);
    assert_int_equal(file.setup_count, 2);
    assert_string_equal(file.setup[0], "make deps");
    assert_string_equal(file.setup[1], "npm ci");
    environment_file_release(&file);
    static const char *const bad[] = {"setup\n", "setup =\n", "= x\n", "setpu = x\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(".codex/environment.conf", bad[i]);
        assert_int_equal(environment_file_read(scratch, &file, &err), ERR_USAGE);
        assert_non_null(strstr(err.message, ".codex/environment.conf:1: "));
        environment_file_release(&file);
    }
}

static void the_repository_narrows_the_limits(void **state)
{
    struct environment_file file;
    struct err err;
    put(".codex/environment.conf", "memory = 1G\ncpus = 0.5\n pids=100\ndisk = 2G\n");
    assert_int_equal(environment_file_read(scratch, &file, &err), 1);
    const struct task_limits wanted = {{1LL << 30, 500, 100, 2LL << 30}};
    assert_memory_equal(&file.limits, &wanted, sizeof wanted);
    environment_file_release(&file);
    static const char *const bad[] = {"memory = 1\n", "cpus = 0\n", "pids = many\n", "disk = -1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(".codex/environment.conf", bad[i]);
        assert_int_equal(environment_file_read(scratch, &file, &err), ERR_USAGE);
        assert_non_null(strstr(err.message, ".codex/environment.conf:1: '"));
        environment_file_release(&file);
    }
    put(".codex/environment.conf", "pids = 100\npids = 200\n");
    assert_int_equal(environment_file_read(scratch, &file, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, ".codex/environment.conf:2: 'pids' is given twice"));
    environment_file_release(&file);
}

/* What FILE says of the internet: JSON, or, behind '!', a part of the error. */
static void expect_internet(const char *text, const char *expected)
{
    struct environment_file file;
    struct err err;
    AUTO_BUF struct buf out;
    buf_init(&out, ENVIRONMENT_INTERNET_MAX);
    put(".codex/environment.conf", text);
    int status = environment_file_read(scratch, &file, &err);
    if (*expected == '!') {
        assert_int_equal(status, ERR_USAGE);
        if (!strstr(err.message, expected + 1))
            fail_msg("'%s' instead of '%s'", err.message, expected + 1);
    } else {
        if (status != 1)
            fail_msg("%s", err.message);
        environment_file_internet(&file, &out);
        assert_string_equal(out.data, expected);
    }
    environment_file_release(&file);
}

static void the_repository_narrows_the_internet(void **state)
{
    expect_internet("setup = true\nimage = debian:12\nuser = root\n", "null");
    expect_internet("internet = public\n", "null");
    expect_internet("internet = off\n", "{\"access\":\"off\",\"allow\":[]}");
    expect_internet("internet = list\r\nallow = a.test,*.b.test:8443  [2001:db8::]/32\n# x\n"
                    "allow= 192.0.2.0/24 ,\n",
                    "{\"access\":\"list\",\"allow\":[\"a.test\",\"*.b.test:8443\","
                    "\"[2001:db8::]/32\",\"192.0.2.0/24\"]}");
    expect_internet("allow = x\ninternet = common\n", "{\"access\":\"common\",\"allow\":[\"x\"]}");
    expect_internet("internet = list\n", "{\"access\":\"list\",\"allow\":[]}");
}

/* Nobody is let out by a file that only looks as if it narrowed nothing. */
static void a_file_that_cannot_be_understood_is_none(void **state)
{
    expect_internet("internet = off\ninternet = public\n", "!:2: 'internet' is given twice");
    expect_internet("internet = Public\n", "!:1: 'internet' must be off, common, list or public");
    expect_internet("internet = public x\n", "!must be off");
    expect_internet("Internet = off\n", "!:1: unknown key 'Internet'");
    expect_internet("internet = off\vsetup = x\n", "!must be off");
    expect_internet("allow = a.test\n", "!'allow' needs 'internet = list'");
    expect_internet("internet = list\nallow = http://a.test\n", "!:2: 'allow': 'http://a.test'");
    expect_internet("internet = list\nallow = a\"b\n", "!:2: 'allow'");
    expect_internet("internet = list\nallow = a\xff\n", "!:2: 'allow'");
    expect_internet("internet = list\nallow_private = 10.0.0.0/8\n",
                    "!unknown key 'allow_private'");
    expect_internet("[internet]\naccess = off\n", "!:1: not 'key = value'");
    AUTO_BUF struct buf text;
    buf_init(&text, 1 << 20);
    buf_append_str(&text, "internet = list\n");
    for (int i = 0; i < ENVIRONMENT_RULES_MAX; i++)
        buf_appendf(&text, "allow = %d.a.test\n", i);
    struct environment_file file;
    struct err err;
    put(".codex/environment.conf", text.data);
    assert_int_equal(environment_file_read(scratch, &file, &err), 1);
    assert_int_equal(file.allow_count, ENVIRONMENT_RULES_MAX);
    environment_file_release(&file);
    buf_append_str(&text, "allow = one.more\n");
    expect_internet(text.data, "!more than 128 rules");
    buf_clear(&text);
    buf_append_str(&text, "internet = list\nallow = ");
    for (int i = 0; i < 301; i++)
        buf_append_char(&text, 'a');
    expect_internet(text.data, "!a rule of more than 300 bytes");
    buf_clear(&text);
    while (text.len < ENVIRONMENT_FILE_MAX)
        buf_append_str(&text, "# internet = off\n");
    expect_internet(text.data, "!not a text of less than 65536 bytes");
    AUTO_FREE char *path = str_format("%s/.codex/environment.conf", scratch);
    static const char *const targets[] = {
        "/etc/passwd", "missing", "../../x", "environment.conf", "/proc/self/environ", "."};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink(targets[i], path), 0);
        assert_int_equal(environment_file_read(scratch, &file, &err), ERR_USAGE);
        assert_non_null(strstr(err.message, "not a regular file of the repository"));
        environment_file_release(&file);
    }
    /* Within the repository a link is as good as its file. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("../other.conf", path), 0);
    put("other.conf", "internet = off\n");
    assert_int_equal(environment_file_read(scratch, &file, &err), 1);
    assert_string_equal(file.internet, "off");
    environment_file_release(&file);
}

static void advice_names_the_line_and_what_to_try(void **state)
{
    char line[] = "npm ci", top[] = ".";
    const struct deps_command command = {line, top, "package-lock.json"};
    static const struct {
        struct supervised_end end;
        const char *output, *advice;
    } cases[] = {
        {{.exit_code = 127}, "bash: npm: command not found\n", "a program is not in the sandbox"},
        {{.exit_code = 1}, "npm ERR! getaddrinfo ENOTFOUND registry\n", "[internet]"},
        {{.exit_code = 1}, "`npm ci` can only install when package-lock.json fits", "lock file"},
        {{.exit_code = 1}, "write: No space left on device", "disk"},
        {{.exit_code = 1}, "boom", "--setup"},
        {{.timed_out = true}, "", "took too long"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AUTO_BUF struct buf out;
        buf_init(&out, 4096);
        setup_advice(&command, &cases[i].end, cases[i].output, &out);
        assert_true(str_starts_with(out.data, "'npm ci' (for package-lock.json) "));
        assert_non_null(strstr(out.data, cases[i].advice));
        assert_null(strchr(out.data, '\n'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_to_install, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(node_by_its_lock_file, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(python_by_its_lock_file, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(every_other_kind, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(members_of_a_workspace_are_not_asked_again, set_up,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(the_fingerprint_is_of_what_decides, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(make_reads_the_makefile_that_make_reads, set_up,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(lines_of_ones_own_go_by_every_file, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(of_build_systems_the_outermost_files_count, set_up,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(there_is_an_end_to_it, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(what_the_repository_says_itself, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(the_repository_narrows_the_limits, set_up, scratch_remove),
        cmocka_unit_test_setup_teardown(the_repository_narrows_the_internet, set_up,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_understood_is_none, set_up,
                                        scratch_remove),
        cmocka_unit_test(advice_names_the_line_and_what_to_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
