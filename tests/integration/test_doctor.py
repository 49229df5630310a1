"""What the server finds out for `codex doctor`, each thing broken in turn: the machine (codex-runner --check) and the
provider (POST /v1/doctor). The doubles are programs of the test's own and mount namespaces of its own."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

from support.codex import API_KEY, BUILD, IMAGES, wait_for
from support.model_server import ModelServer, failed, hang_up, incomplete, message, silence, status
from support.raw_provider import RawProvider, whole
from support.repository import Repository
from support.server import Server

RUNNER = BUILD / "codex-runner"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
UNIFIED = (CGROUPS / "cgroup.controllers").exists()


# --- the machine ---

@pytest.fixture(name="home")
def make_home():
    home = pathlib.Path(tempfile.mkdtemp(prefix="codex-doctor-"))
    home.chmod(0o755)
    (home / "state").mkdir()
    yield home
    shutil.rmtree(home)


def check(home, *options, before="true", images=IMAGES):
    """What codex-runner --check finds in a mount namespace in which the script BEFORE was run."""
    argv = [RUNNER, "--check", "--state", home / "state", "--images", images, *options]
    with subprocess.Popen(["unshare", "--mount", "sh", "-ec", f"{before}; exec \"$@\"", "-", *argv], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        out, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, ""), out
    found = [json.loads(line) for line in out.splitlines()]
    assert all(set(one) == {"check", "status", "detail", "remedy"} for one in found)
    assert all(one["status"] in ("ok", "warn", "fail") for one in found)
    assert all((one["remedy"] is None) == (one["status"] == "ok") for one in found), found
    assert not list(home.rglob(".codex-check*")) and not list(CGROUPS.glob(f"*/codex-check-{run.pid}"))
    return {one["check"]: one for one in found}


def crun(home, script):
    path = home / "crun"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return "--runtime", path


def test_a_good_machine(home):
    found = check(home)
    assert {name: one["status"] for name, one in found.items() if name != "image"} == {
        "runtime": "ok", "cgroups": "ok", "limits": "ok", "disk limit": "ok", "idmapped mounts": "ok", "overlay": "ok"}
    assert found["disk limit"]["detail"].startswith("hard: ")
    assert "crun version" in found["runtime"]["detail"] and str(home) in found["overlay"]["detail"]
    assert not list((home / "state").iterdir())


@pytest.mark.parametrize("script, expected, detail", [
    ("echo crun version 1.8.1; echo +CAP +SECCOMP", "ok", "1.8.1"),
    ("echo crun version 2.0; echo +SECCOMP", "ok", "2.0"),
    ("echo crun version 1.7.9; echo +SECCOMP", "fail", "is too old: it is crun version 1.7.9, and 1.8 is needed"),
    ("echo crun version 1.8.1; echo +CAP", "fail", "built without seccomp"),
    ("echo runc version 1.1.5; echo libseccomp: 2.5.4", "ok", "runc version 1.1.5"),
    ("echo runc version 1.0.3; echo libseccomp: 2.5.4", "fail", "is too old"),
    ("echo runc version 1.1.5", "fail", "built without seccomp"),
    ("echo runsc version release-20221219.0; echo spec: 1.0.2", "fail", "neither crun nor runc"),
    ("echo crunchy version 1.9; echo +SECCOMP", "fail", "neither crun nor runc"),
    ("echo cannot load libyajl >&2; exit 127", "fail", "cannot load libyajl"),
    ("exit 1", "fail", "it failed without a word"),
    ("kill -9 $$", "fail", "it failed without a word"),
])
def test_the_runtime(home, script, expected, detail):
    found = check(home, *crun(home, script))["runtime"]
    assert found["status"] == expected and detail in found["detail"], found


def test_no_runtime(home):
    found = check(home, "--runtime", "no-such-crun")["runtime"]
    assert found["status"] == "fail" and "apt-get install crun" in found["remedy"]


def test_what_cannot_be_limited(home):
    """The controllers are there, and take nothing: as in a container that is shown the host's cgroups."""
    where = CGROUPS if UNIFIED else CGROUPS / "memory"
    found = check(home, before=f"mount -o remount,bind,ro '{where}'")["limits"]
    assert found["status"] == "fail" and "no limit of memory holds" in found["detail"]
    if UNIFIED:
        return
    found = check(home, before=f"mount -o remount,bind,ro '{CGROUPS}/pids'")["limits"]
    assert found["status"] == "fail" and "no limit of processes holds" in found["detail"]
    found = check(home, before=f"mount -o remount,bind,ro '{CGROUPS}/cpu'")["limits"]
    assert found["status"] == "warn" and "cores are not" in found["detail"]
    found = check(home, before=f"mount -o remount,bind,ro '{CGROUPS}/cpuset'")["limits"]
    assert found["status"] == "warn" and "(nproc)" in found["detail"] and "cpuset" in found["remedy"]


def test_no_loop_devices(home):
    found = check(home, before="mount --bind /dev/null /dev/loop-control")["disk limit"]
    assert found["status"] == "warn" and found["detail"].startswith("soft: ") and "modprobe loop" in found["remedy"]


def test_no_e2fsprogs(home):
    found = check(home, before="mount --bind /dev/null \"$(realpath /sbin/mke2fs)\"")["disk limit"]
    assert found["status"] == "warn" and "e2fsprogs" in found["remedy"] and "e2fsprogs is needed" in found["detail"]


def test_no_cgroups(home):
    found = check(home, before=f"umount -R '{CGROUPS}'" if UNIFIED else f"umount '{CGROUPS}/memory'")
    assert found["cgroups"]["status"] == "fail" and "memory cgroup controller is not mounted" in found["cgroups"]["detail"]
    assert "limits" not in found


def test_a_file_system_without_idmapped_mounts(home):
    found = check(home, before=f"mount -t ramfs -o mode=755 ramfs '{home}/state'")
    assert found["idmapped mounts"]["status"] == "fail" and "has no idmapped mounts" in found["idmapped mounts"]["detail"]
    assert "ext4" in found["idmapped mounts"]["remedy"] and "overlay" not in found


def test_a_state_that_cannot_be_written(home):
    found = check(home, before=f"mount -t tmpfs -o ro tmpfs '{home}/state'")
    assert found["mounts"]["status"] == "fail" and "Read-only file system" in found["mounts"]["detail"]


def test_no_image(home):
    found = check(home, images=home / "images")["image"]
    assert found["status"] == "warn" and f"--image {home}/images" in found["remedy"]
    assert not (home / "images").exists()


def test_without_root(home):
    done = subprocess.run([RUNNER, "--check", "--state", home, "--images", IMAGES], check=False, user=65534, group=65534,
                          extra_groups=[], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "") and "need 65536 subordinate ids" in done.stderr


# --- the quick part, with a submission ---

def test_the_first_task_is_told_what_is_wrong_with_the_machine(tmp_path, home):
    repository = Repository(tmp_path / "demo", {"Makefile": "test:\n\ttrue\n"})
    option, path = crun(home, "echo cannot load libyajl >&2; exit 127")
    with Server("[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = http://127.0.0.1:9/v1\n"
                f"[sandbox]\nruntime = {path}\n") as server:
        def submit():
            return server.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(repository.path)})
        answer = submit()
        assert answer.problem[:2] == (503, "no_sandbox")
        assert answer.problem[2].startswith("runtime: ") and "cannot load libyajl" in answer.problem[2]
        assert "apt-get install crun" in answer.problem[2]
        real = shutil.which("crun")
        crun(home, f"exec '{real}' \"$@\"")
        # Put right, it is found so without a restart.
        answer = wait_for(lambda: (got := submit()).status == 201 and got, 10, "the task is taken")
        server.cancel(answer.json["id"])


def test_a_task_that_comes_early_waits_for_the_look_but_not_for_long(tmp_path, home):
    repository = Repository(tmp_path / "demo", {"Makefile": "test:\n\ttrue\n"})
    real = shutil.which("crun")
    for seconds, expected in ((0.2, 503), (5, 201)):
        _, path = crun(home, f"grep -qz -e --check /proc/$PPID/cmdline && sleep {seconds} && exit 1; exec '{real}' \"$@\"")
        with Server("[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = http://127.0.0.1:9/v1\n"
                    f"[sandbox]\nruntime = {path}\n") as server:
            began = time.monotonic()
            answer = server.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(repository.path)})
            assert answer.status == expected and time.monotonic() - began < 4, answer.body
            if answer.status == 201:
                server.cancel(answer.json["id"])


def test_looking_takes_no_time_of_a_submission(tmp_path, home):
    """It was looked at the start; a runtime that would take long to ask is not asked again."""
    repository = Repository(tmp_path / "demo", {"Makefile": "test:\n\ttrue\n"})
    count = home / "count"
    real = shutil.which("crun")
    _, path = crun(home, f"grep -qz -e --check /proc/$PPID/cmdline && echo x >>'{count}'; exec '{real}' \"$@\"")
    with ModelServer([[message("Nothing to do.")]] * 3) as model, \
            Server("[model]\nname = o3\nprovider = p\n[provider \"p\"]\n"
                   f"base_url = {model.base_url}\n[sandbox]\nruntime = {path}\n") as server:
        for _ in range(3):
            server.wait(server.submit("x", repository.path)["id"])
        assert count.read_text().count("x") == 1


# --- the provider ---

def server_for(base_url, more="", **environment):
    return Server("[model]\nname = o3\nprovider = p\n[provider \"p\"]\n"
                  f"base_url = {base_url}\nenv_key = THE_KEY\n{more}", {"THE_KEY": API_KEY, **environment})


def ask(server):
    answer = server.call("POST", "/v1/doctor")
    assert answer.status == 200 and API_KEY.encode() not in answer.body
    assert API_KEY not in server.log.read_text()
    found, = [one for one in answer.json if one["check"] == "provider"]
    assert set(found) == {"check", "status", "detail", "remedy"}
    assert found["detail"].startswith("o3 from provider 'p': ")
    return found


def test_the_model_answers():
    with ModelServer([[message("ok")]], api_key=API_KEY) as model, server_for(model.base_url) as server:
        found = ask(server)
        assert found["status"] == "ok" and "it answers, in " in found["detail"] and found["remedy"] is None
        request, = model.requests
        assert request.path == "/v1/responses" and request.body["model"] == "o3" and request.body["stream"] is True
        assert request.body["max_output_tokens"] == 16 and request.body["store"] is False
        # Without POST nobody is asked.
        assert "provider" not in [one["check"] for one in server.call("GET", "/v1/doctor").json]
        assert len(model.requests) == 1


@pytest.mark.parametrize("entry, expected, detail, remedy", [
    (incomplete("max_output_tokens"), "ok", "it answers", None),
    (status(401), "fail", "the key is refused (401): scripted 401", "codex secret set THE_KEY"),
    (status(403), "fail", "the key may not do that (403)", "another key"),
    (status(404, {"error": {"message": "no model 'o3'"}}), "fail", "(404): no model 'o3'", "/models lists them"),
    (status(404, b"<html>nginx"), "fail", "(404): <html>nginx", "base_url right"),
    (status(400, {"error": {"message": "not a reasoning model"}}), "fail", "(400): not a reasoning model", "wire_api"),
    (status(429), "warn", "(429)", "wait"),
    (status(500), "fail", "it is in trouble (500)", "try again"),
    (status(503, {"error": f"my key is {API_KEY}\nand more"}), "fail", "(503): my key is ", "try again"),
    (status(200, b"<html>Welcome to nginx</html>"), "fail", "not with a stream of the responses API", "base_url"),
    (failed("server_error", "the model is gone"), "fail", "the model is gone", "see what it says"),
    (hang_up(), "fail", "no answer from the provider", "curl -sS http://127.0.0.1:"),
])
def test_what_the_provider_may_say(entry, expected, detail, remedy):
    with ModelServer([entry]) as model, server_for(model.base_url) as server:
        found = ask(server)
        assert found["status"] == expected and detail in found["detail"], found
        assert (found["remedy"] or "") == "" if remedy is None else remedy in found["remedy"], found


def test_nobody_there():
    with server_for("http://127.0.0.1:9/v1") as server:
        found = ask(server)
        assert found["status"] == "fail" and "connect" in found["detail"] and "curl -sS http://127.0.0.1:9/v1/models" in found["remedy"]


def test_no_such_host():
    with server_for("http://no-such-host.invalid/v1") as server:
        found = ask(server)
        assert found["status"] == "fail" and "no-such-host.invalid" in found["detail"] and "base_url" in found["remedy"]


def test_a_certificate_that_nobody_signed():
    with tempfile.TemporaryDirectory(prefix="codex-test-tls-") as name:
        certificate, key = f"{name}/certificate.pem", f"{name}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        with RawProvider(lambda talk: talk.send(whole(200, b"{}")), certificate=(certificate, key)) as provider, \
                server_for(f"https://127.0.0.1:{provider.port}/v1") as server:
            found = ask(server)
            assert found["status"] == "fail" and "certificate" in found["detail"]
            assert "update-ca-certificates" in found["remedy"] and provider.heads == []


def test_a_silent_provider_is_waited_for_in_bounds():
    with ModelServer([silence()]) as model, server_for(model.base_url, "first_byte_timeout = 1s\n") as server:
        began = time.monotonic()
        found = ask(server)
        assert found["status"] == "fail" and "silent for 1 s" in found["detail"] and time.monotonic() - began < 20


def test_no_key_and_no_model():
    """What cannot be asked is not asked."""
    with ModelServer([]) as model:
        with server_for(model.base_url, THE_KEY="") as server:
            answer = server.call("POST", "/v1/doctor").json
            assert "provider" not in [one["check"] for one in answer]
            assert answer[2]["status"] == "fail" and answer[2]["remedy"] == "codex secret set THE_KEY"
        with Server("") as server:
            answer = server.call("POST", "/v1/doctor").json
            assert answer[2]["detail"] == "no model is configured" and "provider" not in [one["check"] for one in answer]
        assert model.requests == []


def test_a_client_that_leaves_and_many_that_ask():
    with ModelServer([silence()] * 20, strict=False) as model, \
            server_for(model.base_url, "first_byte_timeout = 2s\n") as server:
        askers = [subprocess.Popen([BUILD / "codex", "doctor", "--json"], env=server.environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(8)]
        model.wait_for(1)
        askers[0].kill()
        found = [json.loads(asker.communicate(timeout=60)[0]) for asker in askers[1:]]
        details = [one["detail"] for answer in found for one in answer if one["check"] == "provider"]
        assert len(details) == 7 and all("silent" in one or "others are asking it" in one for one in details), details
        assert server.call("GET", "/healthz").status == 200
        gateways = [pid for pid in pathlib.Path("/proc").iterdir() if pid.name.isdigit() and is_gateway_of(pid, server)]
        wait_for(lambda: not [pid for pid in gateways if pid.exists()], 30, "no gateway is left")


def is_gateway_of(process, server):
    try:
        parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
        return parent in server.processes() and b"codex-gateway" in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_the_probe_of_a_replay_asks_nobody(home):
    turns = home / "turns.jsonl"
    turns.write_text('{"replay":1,"recorded":"2026-11-20","model":"o3"}\n')
    os.chmod(turns, 0o644)
    with Server(f"[model]\nname = o3\nprovider = p\n[provider \"p\"]\nwire_api = replay\nfile = {turns}\n") as server:
        assert ask(server)["detail"].endswith("recorded turns: nothing has to be asked")
