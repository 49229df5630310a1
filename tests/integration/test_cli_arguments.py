"""The command line of `codex`: help, mistakes, exit statuses."""
import json
import re
import socket
import subprocess
import threading

import pytest

from support.cli import CODEX, Cli, one_line
from support.codex import ROOT

VERBS = ("task", "status", "list", "logs", "diff", "apply", "cancel", "deliver", "sandbox", "secret", "doctor", "help",
         "version")


@pytest.fixture(name="cli")
def fixture_cli():
    with Cli() as cli:
        yield cli


def test_help_lists_every_verb(cli):
    for arguments in (["help"], ["--help"], ["-h"]):
        done = cli.run(*arguments)
        assert done.returncode == 0 and done.stderr == ""
        for verb in VERBS:
            assert f"\n  {verb} " in done.stdout
        assert "complete" not in done.stdout
    nothing = cli.run()
    assert nothing.returncode == 2 and nothing.stdout == "" and "usage: codex VERB" in nothing.stderr
    assert [entry["verb"] for entry in cli.json("help")] == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(cli, verb):
    done = cli.run(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: codex {verb} ")
    for part in ("--json", "-h, --help", "examples:\n"):
        assert part in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert cli.run("help", verb).stdout == done.stdout
    assert cli.run(verb, "-h").stdout == done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_the_manual_has_every_option(cli, verb):
    manual = (ROOT / "man/codex.1").read_text()
    for option in re.findall(r"--([a-z-]+)", cli.run(verb, "--help").stdout.split("examples:")[0]):
        assert f"Fl -{option}" in manual or option in ("limit", "all"), option
    assert re.search(rf"^\.(It )?Cm .*\b{verb}\b", manual, re.MULTILINE)


def test_versions(cli):
    assert cli.run("version").stdout == "codex 0.1.0\n"
    assert cli.run("--version").stdout == cli.run("-V").stdout == "codex 0.1.0\n"
    assert cli.json("version") == {"version": "0.1.0"}


@pytest.mark.parametrize("arguments, parts", [
    (["stauts"], ["unknown verb 'stauts', did you mean 'status'?"]),
    (["frobnicate"], ["unknown verb 'frobnicate': 'codex help' lists them"]),
    (["archive", "task-abc123"], ["unknown verb 'archive'"]),
    (["Fix the bug"], ["codex task \"...\""]),
    (["--json", "status"], ["the verb comes first"]),
    (["help", "stauts"], ["did you mean 'status'?"]),
    (["task"], ["usage: codex task PROMPT"]),
    (["task", "two", "words"], ["one prompt", "quotes"]),
    (["task", ""], ["the prompt is empty"]),
    (["task", " \n\t "], ["the prompt is empty"]),
    (["task", "x", "--effort", "max"], ["--effort 'max'", "low|medium|high|xhigh"]),
    (["task", "x", "--timeout", "soon"], ["--timeout 'soon'", "8h"]),
    (["task", "x", "--timeout", "0"], ["--timeout '0'"]),
    (["task", "x", "--budget-tokens", "-5"], ["--budget-tokens '-5'", "at least 1"]),
    (["task", "x", "--priority", "high"], ["--priority 'high'"]),
    (["task", "x", "--branch", ""], ["--branch: its NAME is empty"]),
    (["task", "x", "--repo"], ["--repo: its REPO is missing"]),
    (["task", "x", "--attempts", "3"], ["unknown option '--attempts'"]),
    (["task", "x", "--folow"], ["did you mean '--follow'?"]),
    (["task", "--help me"], ["unknown option '--help me'", "behind '--'"]),
    (["task", "-x fix\nit"], ["unknown option '-x fix", "behind '--'"]),
    (["task", "x", "--follow=1"], ["--follow takes no value"]),
    (["status", "task-abc123", "task-abc124"], ["too many arguments", "usage: codex status [ID]"]),
    (["logs"], ["usage: codex logs ID"]),
    (["logs", "task-abc123", "--phase", "queued"], ["--phase 'queued'", "working"]),
    (["list", "-n", "0"], ["--limit '0'"]),
    (["list", "-x"], ["unknown option '-x'"]),
    (["sandbox"], ["usage: codex sandbox -- COMMAND"]),
    (["doctor", "now"], ["too many arguments"]),
])
def test_mistakes_get_one_line(cli, arguments, parts):
    one_line(cli.run(*arguments), 2, *parts)
    assert cli.api.requests == []


@pytest.mark.parametrize("verb", ["status", "logs", "diff", "apply", "cancel"])
@pytest.mark.parametrize("name", ["nope", "task-", "task-ABCDEF", "task-abc12/../x", "task-\x1b[2J", "../../healthz"])
def test_what_is_no_id_is_not_found_and_not_asked_for(cli, verb, name):
    done = cli.run(verb, name)
    one_line(done, 3, "no task '", "codex list")
    assert "\x1b" not in done.stderr
    assert cli.api.requests == []


def test_unknown_tasks_are_not_found(cli):
    for arguments in (["status", "task-zzzzzz"], ["logs", "task-zzzzzz"], ["logs", "-f", "task-zzzzzz"],
                      ["diff", "task-zzzzzz"], ["cancel", "task-zzzzzz"]):
        one_line(cli.run(*arguments), 3)


@pytest.mark.parametrize("status, code, expected", [
    (400, "bad_request", 2), (404, "not_found", 3), (403, "forbidden", 5), (409, "refused", 5),
    (409, "key_missing", 5), (503, "no_sandbox", 125), (507, "disk_full", 5), (500, "internal", 5),
    (500, "from the future", 5),
])
def test_the_servers_refusals_become_exit_statuses(cli, status, code, expected):
    cli.api.problems["GET /v1/tasks"] = (status, code, "because\x1b[2J of\nthis")
    done = cli.run("list")
    one_line(done, expected, "codex list: because of")
    assert "\x1b" not in done.stderr


def test_options_may_stand_anywhere_and_two_dashes_end_them(cli):
    cli.api.add("task-abc123")
    assert cli.run("status", "--json", "task-abc123").stdout == cli.run("status", "task-abc123", "--json").stdout
    one_line(cli.run("status", "--", "--json"), 3, "no task '--json'")


@pytest.mark.parametrize("arguments", [["list"], ["status"], ["status", "task-abc123"], ["logs", "task-abc123"],
                                       ["diff", "task-abc123"], ["cancel", "task-abc123"]])
def test_verbs_that_read_start_no_server(cli, arguments):
    cli.api.vanish()
    one_line(cli.run(*arguments), 4, "no codexd answers at", cli.api.path, "codexd --config FILE")
    cli.api.start()
    cli.api.vanish(keep_socket=False)
    one_line(cli.run(*arguments, CODEX_SOCKET=""), 4, "no codexd answers at",
             cli.environment["CODEX_STATE_DIR"] + "/codexd.sock")


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", b"SSH-2.0-OpenSSH_9.2\r\n", b"",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n[]", b"HTTP/1.1 204 No Content\r\n\r\n"])
def test_something_else_at_the_socket_is_no_codexd(cli, answer):
    path = str(cli.home / "other.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        one_line(cli.run("list", CODEX_SOCKET=path), 4, path)
        thread.join()


def test_bad_surroundings_get_one_line(cli):
    one_line(cli.run("list", CODEX_SOCKET="/" + "x" * 120), 2, "longer than")
    one_line(cli.run("list", CODEX_SOCKET="relative.sock"), 2, "CODEX_SOCKET", "absolute")
    config = cli.home / "codex.conf"
    config.write_text("[model]\nname = o3\nfrobnicate = 1\n")
    one_line(cli.run("list", CODEX_CONFIG=str(config)), 2, f"{config}:3")


def test_output_that_cannot_be_written_is_an_error(cli):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([CODEX, "version"], stdout=full, stderr=subprocess.PIPE, check=False, text=True,
                              env=cli.environment)
    assert done.returncode == 5 and "cannot write to standard output" in done.stderr


@pytest.mark.parametrize("program", ["codex", "codexd", "codex-agent", "codex-gateway", "codex-git", "codex-runner"])
def test_every_program_says_what_it_is(cli, program):
    path = CODEX.parent / program
    for option in ("--help", "-h"):
        done = cli.run(option, program=path)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: codex")
    for option in ("--version", "-V"):
        done = cli.run(option, program=path)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{program} 0.1.0\n")


@pytest.mark.parametrize("redirection, status", [(">&-", 5), ("<&- >&-", 5), ("2>&-", 0), ("<&- 2>&-", 0)])
def test_no_file_takes_the_place_of_a_standard_descriptor_that_is_shut(cli, redirection, status):
    cli.api.add("task-abc123")
    done = subprocess.run(["sh", "-c", f'exec "$0" "$@" {redirection}', CODEX, "status", "task-abc123", "--json"],
                          check=False, env=cli.environment, capture_output=True, text=True)
    assert done.returncode == status
    if status:
        one_line(done, status, "cannot write to standard output: Bad file descriptor")
    else:
        assert json.loads(done.stdout)["id"] == "task-abc123"
    assert [request[:2] for request in cli.api.requests] == [("GET", "/v1/tasks/task-abc123")]


def test_words_are_completed(cli):
    cli.api.add("task-abc123")
    cli.api.add("task-abd456")

    def complete(*words):
        return cli.run("complete", "--", *words).stdout.split()
    assert complete("sta") == ["status"]
    assert complete("") == list(VERBS)
    assert complete("task", "--ef") == ["--effort"]
    assert complete("task", "x", "--effort", "") == ["low", "medium", "high", "xhigh"]
    assert complete("logs", "--phase", "v") == ["verifying"]
    assert complete("status", "task-abc") == ["task-abc123"]
    assert complete("status", "") == ["task-abd456", "task-abc123"]
    assert complete("help", "ca") == ["cancel"]
    cli.api.vanish()
    assert complete("status", "") == []


def test_json_is_one_line(cli):
    cli.api.add("task-abc123")
    for arguments in (["list"], ["status"], ["status", "task-abc123"], ["help"], ["version"]):
        done = cli.run(*arguments, "--json")
        assert done.stdout.count("\n") == 1
        json.loads(done.stdout)
