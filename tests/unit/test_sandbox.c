#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "runner/copy.h"
#include "runner/run_dir.h"
#include "runner/sandbox_name.h"
#include "sandbox/cgroup.h"
#include "sandbox/cores.h"
#include "sandbox/disk.h"
#include "sandbox/oci.h"
#include "sandbox/runtime.h"
#include "sandbox/uid_range.h"

static char directory[64];

static int make_directory(void **state)
{
    strcpy(directory, "/tmp/codex-test-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    return io_remove_tree_at(AT_FDCWD, directory, NULL);
}

static const struct sandbox_limits limits = {
    .memory_bytes = 1ULL << 30, .cpu_milli = 1500, .pids = 100};

static const struct mounts_extent map = {0, 0x70000000, 65536};
static const struct runtime_kind crun = {.takes_bpf = true}, runc = {.inherits_limits = true};

static void the_configuration_is_json_whatever_the_names_are(void **state)
{
    struct buf out;
    buf_init(&out, 65536);
    const struct oci_sandbox sandbox = {.root = "root",
                                        .runtime = &crun,
                                        .users = "/proc/1/fd/3",
                                        .cgroup = "codex/x",
                                        .map = &map,
                                        .map_count = 1,
                                        .limits = limits,
                                        .agent_dir = "/a",
                                        .workspace = "/w",
                                        .workspace_target = "/workspace/\"],\n\\\xff"};
    assert_int_equal(oci_config(&out, &sandbox), 0);
    json_t *config = json_loadb(out.data, out.len, 0, NULL);
    assert_non_null(config);
    const json_t *mounts = json_object_get(config, "mounts");
    const json_t *last = json_array_get(mounts, json_array_size(mounts) - 1);
    assert_string_equal(json_string_value(json_object_get(last, "destination")),
                        "/workspace/\"],\n\\\xef\xbf\xbd");
    const json_t *process = json_object_get(config, "process");
    assert_true(json_is_true(json_object_get(process, "noNewPrivileges")));
    json_decref(config);
    buf_release(&out);
}

static void a_step_of_the_user_has_no_capability_and_a_limit_of_processes(void **state)
{
    struct buf out;
    buf_init(&out, 65536);
    const char *const argv[] = {"x", "a\"b", "", "\x01", NULL}, *const env[] = {"A=\"1\"", NULL};
    const struct sandbox_step step = {
        .profile = SANDBOX_AS_USER, .argv = argv, .env = env, .cwd = "/workspace"};
    assert_int_equal(oci_process(&out, &step, &limits, false), 0);
    json_t *process = json_loadb(out.data, out.len, 0, NULL);
    assert_non_null(process);
    json_t *user, *args, *bounding, *rlimits;
    int uid;
    assert_int_equal(json_unpack(process, "{s:o, s:o, s:{s:o}, s:o}", "user", &user, "args", &args,
                                 "capabilities", "bounding", &bounding, "rlimits", &rlimits),
                     0);
    assert_int_equal(json_unpack(user, "{s:i}", "uid", &uid), 0);
    assert_int_equal(uid, 1000);
    assert_int_equal(json_array_size(args), 4);
    assert_string_equal(json_string_value(json_array_get(args, 1)), "a\"b");
    assert_int_equal(json_array_size(bounding), 0);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rlimits, 2), "hard")), 68);
    json_decref(process);
    buf_release(&out);
}

/* The policy has to be where the runtime looks for it, and nowhere is none. */
static void every_runtime_gets_the_policy_in_the_form_that_it_takes(void **state)
{
    const struct runtime_kind *const kinds[] = {&crun, &runc};
    for (size_t i = 0; i < 2; i++) {
        struct buf out;
        buf_init(&out, 65536);
        const struct oci_sandbox sandbox = {.root = "root",
                                            .runtime = kinds[i],
                                            .users = "/u",
                                            .cgroup = "c",
                                            .limits = limits,
                                            .agent_dir = "/a",
                                            .is_host_workspace = i == 1};
        assert_int_equal(oci_config(&out, &sandbox), 0);
        json_t *config = json_loadb(out.data, out.len, 0, NULL);
        assert_non_null(config);
        const json_t *seccomp = json_object_get(json_object_get(config, "linux"), "seccomp");
        const json_t *bpf =
            json_object_get(json_object_get(config, "annotations"), "run.oci.seccomp_bpf_data");
        const json_t *rlimits = json_object_get(json_object_get(config, "process"), "rlimits");
        assert_int_equal(json_array_size(rlimits), i == 0 ? 2 : 0);
        assert_int_equal(json_string_length(bpf) > 1000, i == 0);
        assert_int_equal(json_array_size(json_object_get(seccomp, "syscalls")) > 40, i == 1);
        if (i == 1)
            assert_string_equal(json_string_value(json_object_get(seccomp, "defaultAction")),
                                "SCMP_ACT_ERRNO");
        json_decref(config);
        buf_release(&out);
    }
}

static void a_configuration_that_does_not_fit_is_an_error(void **state)
{
    for (size_t max = 0; max < 6000; max += 97) {
        struct buf out;
        buf_init(&out, max);
        const struct oci_sandbox sandbox = {.root = "root",
                                            .runtime = &crun,
                                            .cgroup = "codex/x",
                                            .limits = limits,
                                            .agent_dir = "/a"};
        assert_int_equal(oci_config(&out, &sandbox), -ERANGE);
        buf_release(&out);
    }
}

static void assert_cores(const char *expected, const cpu_set_t *allowed, unsigned number,
                         unsigned count)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 256);
    assert_int_equal(cores_append(&out, allowed, number, count), 0);
    assert_string_equal(out.data, expected);
}

static void cores_are_shared_out_in_turn(void **state)
{
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    for (int core = 1; core < 10; core += 2)
        CPU_SET(core, &allowed); /* 1 3 5 7 9 */
    assert_int_equal(cores_needed(0, &allowed), 0);
    assert_int_equal(cores_needed(1, &allowed), 1);
    assert_int_equal(cores_needed(1000, &allowed), 1);
    assert_int_equal(cores_needed(1001, &allowed), 2);
    assert_int_equal(cores_needed(4000, &allowed), 4);
    assert_int_equal(cores_needed(4001, &allowed), 0);
    assert_int_equal(cores_needed(UINT32_MAX, &allowed), 0);
    assert_cores("1,3", &allowed, 0, 2);
    assert_cores("5,7", &allowed, 1, 2);
    assert_cores("9,1", &allowed, 2, 2);
    assert_cores("7", &allowed, 4093, 1);
    assert_cores("", &allowed, 7, 0);
    CPU_ZERO(&allowed);
    assert_cores("", &allowed, 7, 3);
    cores_allowed(&allowed);
    assert_true(CPU_COUNT(&allowed) > 0);
}

static void cores_are_in_the_configuration_and_the_environment(void **state)
{
    struct buf out;
    buf_init(&out, 65536);
    struct oci_sandbox sandbox = {.root = "root",
                                  .runtime = &crun,
                                  .users = "/proc/1/fd/3",
                                  .cgroup = "codex/x",
                                  .limits = limits,
                                  .cores = "0,2",
                                  .agent_dir = "/a"};
    sandbox.limits.cores = 2;
    assert_int_equal(oci_config(&out, &sandbox), 0);
    json_t *config = json_loadb(out.data, out.len, 0, NULL);
    const char *cores;
    int quota;
    assert_int_equal(json_unpack(config, "{s:{s:{s:{s:s, s:i}}}}", "linux", "resources", "cpu",
                                 "cpus", &cores, "quota", &quota),
                     0);
    assert_string_equal(cores, "0,2");
    assert_int_equal(quota, 150000);
    assert_non_null(strstr(out.data, "\"GOMAXPROCS=2\""));
    json_decref(config);
    buf_release(&out);
}

static void disks_have_inodes_by_their_size(void **state)
{
    assert_int_equal(disk_inodes(&(struct disk_size){20ULL << 30, 0}), 1310720);
    assert_int_equal(disk_inodes(&(struct disk_size){20ULL << 30, 5000}), 5000);
    assert_int_equal(disk_inodes(&(struct disk_size){DISK_BYTES_MIN, 0}), 4096);
    assert_int_equal(disk_inodes(&(struct disk_size){UINT64_MAX, 0}), DISK_INODES_MAX);
}

static void uid_ranges_do_not_overlap_and_come_back(void **state)
{
    struct uid_range ranges[50];
    struct err err;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(uid_range_take(&ranges[i], directory, &err), 0);
        assert_int_equal(ranges[i].base % UID_RANGE_SIZE, 0);
        assert_true(ranges[i].base >= UID_RANGE_FIRST);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(ranges[i].base, ranges[j].base);
    }
    for (int i = 0; i < 50; i++)
        uid_range_release(&ranges[i]);
    /* The last one that is left is found. */
    AUTO_FREE char *path = str_format("%s/uid-ranges", directory);
    AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock all = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = UID_RANGE_COUNT};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
    assert_int_equal(uid_range_take(&ranges[0], directory, &err), 0);
    assert_int_equal(ranges[0].base, UID_RANGE_FIRST);
    assert_int_equal(uid_range_take(&ranges[1], directory, &err), ERR_LIMIT);
    uid_range_release(&ranges[0]);
}

static void write_text(const char *path, const char *text)
{
    struct err err;
    assert_int_equal(io_replace_file_at(AT_FDCWD, path, text, strlen(text), 0644, &err), 0);
}

/* A v2 host and a v1 host, as far as files tell. */
static void counts_are_read_from_either_kind_of_cgroup(void **state)
{
    struct cgroup_host host = {.count = 1, .memory = 0, .pids = 0, .unified = 0};
    struct cgroup_counts counts;
    struct err err;
    strcpy(host.mounts[0], directory);
    AUTO_FREE char *group = str_format("%s/codex/g", directory);
    AUTO_FREE char *events = str_format("%s/memory.events", group);
    AUTO_FREE char *control = str_format("%s/memory.oom_control", group);
    AUTO_FREE char *pids = str_format("%s/pids.events", group);
    assert_int_equal(io_make_dirs(group, 0755, &err), 0);
    write_text(events, "low 0\noom 5\noom_kill 3\noom_group_kill 0\n");
    write_text(control, "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
    write_text(pids, "max 11\n");
    cgroup_read_counts(&host, "codex/g", &counts);
    assert_int_equal(counts.oom_kills, 3);
    assert_int_equal(counts.pids_denied, 11);
    host.v1_memory = true;
    cgroup_read_counts(&host, "codex/g", &counts);
    assert_int_equal(counts.oom_kills, 7);
    cgroup_read_counts(&host, "codex/none", &counts);
    assert_int_equal(counts.oom_kills + counts.pids_denied, 0);
}

static void a_host_that_lacks_a_controller_is_told_which(void **state)
{
    struct err err;
    const struct cgroup_host none = {.memory = -1, .pids = 0, .unified = -1};
    assert_int_equal(cgroup_host_check(&none, &err), ERR_SANDBOX);
    assert_non_null(strstr(err.message, "memory"));
    /* hybrid, with a controller left on the v2 tree */
    struct cgroup_host hybrid = {
        .count = 1, .memory = 0, .pids = 0, .unified = 0, .v1_memory = true};
    strcpy(hybrid.mounts[0], directory);
    AUTO_FREE char *controllers = str_format("%s/cgroup.controllers", directory);
    write_text(controllers, "hugetlb misc\n");
    assert_int_equal(cgroup_host_check(&hybrid, &err), ERR_SANDBOX);
    assert_non_null(strstr(err.message, "hugetlb,misc"));
    write_text(controllers, "");
    assert_int_equal(cgroup_host_check(&hybrid, &err), 0);
}

static void note_name(void *arg, const char *name)
{
    strcat(arg, name);
    strcat(arg, " ");
}

static void groups_are_found_once_and_removed_with_their_children(void **state)
{
    struct cgroup_host host = {.count = 2, .memory = -1, .pids = -1, .unified = -1};
    struct err err;
    const char *const made[] = {"a/codex/p-1/child/child", "a/codex/q-1", "b/codex/p-1",
                                "b/codex/p-2"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        AUTO_FREE char *path = str_format("%s/%s", directory, made[i]);
        assert_int_equal(io_make_dirs(path, 0755, &err), 0);
    }
    snprintf(host.mounts[0], CGROUP_PATH_SIZE, "%s/a", directory);
    snprintf(host.mounts[1], CGROUP_PATH_SIZE, "%s/b", directory);
    char names[128] = "";
    cgroup_each(&host, "codex", "p-", note_name, names);
    assert_string_equal(names, "p-1 p-2 ");
    assert_int_equal(cgroup_remove(&host, "codex/p-1", clock_mono_ms() + 1000, &err), 0);
    names[0] = '\0';
    cgroup_each(&host, "codex", "", note_name, names);
    assert_string_equal(names, "q-1 p-2 ");
}

static void one_process_at_a_time_has_a_run(void **state)
{
    struct run_dir dir, again;
    struct err err;
    assert_int_equal(run_dir_take(&dir, directory, "task-abc123-1", 0, &err), 0);
    assert_true(run_dir_is_over(&dir));
    assert_int_equal(
        run_dir_write_status(&dir, &(struct run_status){.phase = "working", .keep_workspace = true},
                             &err),
        0);
    assert_false(run_dir_is_over(&dir));
    pid_t pid = fork();
    if (pid == 0) {
        int status = run_dir_take(&again, directory, "task-abc123-1", 20, &err);
        AUTO_FREE char *holder = str_format("process %d executes", (int)getppid());
        _exit(status == ERR_CONFLICT && strstr(err.message, holder) ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    run_dir_release(&dir, true);
    const char *const bad[] = {"", "..", "a/b", "-a", "A", "a b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(run_dir_take(&dir, directory, bad[i], 0, &err), ERR_USAGE);
}

static void names_tell_states_and_runs_apart(void **state)
{
    char one[SANDBOX_NAME_SIZE], other[SANDBOX_NAME_SIZE];
    struct err err;
    assert_int_equal(sandbox_name(one, directory, "task-abc123-1", "work", &err), 0);
    assert_true(str_ends_with(one, "-task-abc123-1-work"));
    assert_int_equal(sandbox_name_prefix(other, directory, "task-abc123-1", &err), 0);
    assert_true(str_starts_with(one, other));
    assert_int_equal(sandbox_name(other, "/", "task-abc123-1", "work", &err), 0);
    assert_string_not_equal(one, other);
}

static int copy_bytes(size_t len, uint64_t max, struct copy_result *result, struct err *err)
{
    int ends[2];
    AUTO_FREE char *path = str_format("%s/copy", directory);
    AUTO_FD int out = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(out, "before", 6), 6);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    AUTO_FREE char *bytes = calloc(1, len + 1);
    memset(bytes, 'x', len);
    assert_int_equal(write(ends[1], bytes, len), len);
    close(ends[1]);
    struct loop *loop = loop_new(err);
    struct copy *copy = copy_start(loop, ends[0], out, max, err);
    assert_non_null(copy);
    while (!copy_has_ended(copy))
        loop_run_once(loop, 1000, err);
    int status = copy_finish(copy, result, err);
    struct stat st;
    fstat(out, &st);
    assert_int_equal(st.st_size, status < 0 ? 0 : (off_t)len);
    loop_free(loop);
    return status;
}

static void a_copy_is_bounded_and_hashed(void **state)
{
    struct copy_result result;
    struct err err;
    assert_int_equal(copy_bytes(3, 3, &result, &err), 0);
    assert_int_equal(result.size_bytes, 3);
    /* printf xxx | sha256sum */
    static const uint8_t start[] = {0xcd, 0x2e, 0xb0, 0x83};
    assert_memory_equal(result.sha256, start, sizeof start);
    assert_int_equal(copy_bytes(0, 3, &result, &err), 0);
    assert_int_equal(copy_bytes(4, 3, &result, &err), ERR_LIMIT);
    assert_string_equal(err.message, "larger than 3 bytes");
}

/* A crun, as far as its version goes, that does what SCRIPT says; what runtime_run() makes of it. */
static int run_runtime(const char *script)
{
    static const char version[] = "#!/bin/sh\n[ \"$1\" = --version ] && echo crun version 1.8.1 && "
                                  "echo +SECCOMP && exit 0\n";
    AUTO_FREE char *program = str_format("%s/runtime", directory);
    const int fd = open(program, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    struct runtime runtime;
    struct err err;
    assert_int_equal(io_write_all(fd, version, strlen(version), &err), 0);
    assert_int_equal(io_write_all(fd, script, strlen(script), &err), 0);
    close(fd);
    assert_int_equal(runtime_find(&runtime, program, false, &err), 0);
    int status = runtime_run(&(struct runtime_call){.runtime = &runtime,
                                                    .directory = directory,
                                                    .command = "create",
                                                    .args = (const char *const[]){NULL}},
                             &err);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    return status;
}

/* crun goes on in processes that are ours once it has left them: kill -9 hits these too. */
static void a_runtime_that_was_killed_is_told_from_one_that_fails(void **state)
{
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(run_runtime("#!/bin/sh\nexit 0\n"), 0);
    assert_int_equal(run_runtime("#!/bin/sh\nexit 1\n"), ERR_SANDBOX);
    assert_int_equal(run_runtime("#!/bin/sh\nkill -9 $$\n"), ERR_KILLED);
    assert_int_equal(run_runtime("#!/bin/sh\necho 2026-11-24Z: fail startup >$5; exit 1\n"),
                     ERR_KILLED);
    assert_int_equal(run_runtime("#!/bin/sh\necho 2026-11-24Z: open init >$5; exit 1\n"),
                     ERR_SANDBOX);
    static const char orphan[] =
        "#!/bin/sh\n(setsid sh -c 'echo $$ >$0.pid; exec sleep 60' $0 &)\n"
        "until test -s $0.pid; do :; done\n"
        "pid=$(cat $0.pid); rm $0.pid; kill -%s $pid\n"
        "until grep -q 'State:.Z' /proc/$pid/status; do :; done; exit %s\n";
    static const struct {
        const char *signal, *status;
        int expected;
    } orphans[] = {{"9", "1", ERR_KILLED}, {"15", "1", ERR_SANDBOX}, {"9", "0", 0}};
    for (size_t i = 0; i < sizeof orphans / sizeof orphans[0]; i++) {
        char script[512];
        snprintf(script, sizeof script, orphan, orphans[i].signal, orphans[i].status);
        assert_int_equal(run_runtime(script), orphans[i].expected);
    }
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_configuration_is_json_whatever_the_names_are),
        cmocka_unit_test(a_step_of_the_user_has_no_capability_and_a_limit_of_processes),
        cmocka_unit_test(every_runtime_gets_the_policy_in_the_form_that_it_takes),
        cmocka_unit_test(a_configuration_that_does_not_fit_is_an_error),
        cmocka_unit_test(cores_are_shared_out_in_turn),
        cmocka_unit_test(cores_are_in_the_configuration_and_the_environment),
        cmocka_unit_test(disks_have_inodes_by_their_size),
        IN_DIRECTORY(uid_ranges_do_not_overlap_and_come_back),
        IN_DIRECTORY(counts_are_read_from_either_kind_of_cgroup),
        IN_DIRECTORY(a_host_that_lacks_a_controller_is_told_which),
        IN_DIRECTORY(groups_are_found_once_and_removed_with_their_children),
        IN_DIRECTORY(one_process_at_a_time_has_a_run),
        IN_DIRECTORY(names_tell_states_and_runs_apart),
        IN_DIRECTORY(a_runtime_that_was_killed_is_told_from_one_that_fails),
        IN_DIRECTORY(a_copy_is_bounded_and_hashed),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
