"""Real tools in a sandbox, through the gateway's proxy: nothing is configured for them but what every sandbox has."""
import gzip
import hashlib
import os
import subprocess

import pytest

from support.files import Files, make_wheel
from support.internet import OnlineSandbox
from support.proxy import Host, NameServer, answer, echo, has_registry, internet
from support.sandbox import Sandbox

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes sandboxes")


def online(*hosts, **policy):
    return OnlineSandbox(internet(*hosts, **policy))


def test_curl_and_what_it_is_told():
    """http and a tunnel work; a refusal is in what the program prints. The sandbox's own servers are asked directly."""
    with Host(answer(b"from outside\n")) as host, NameServer({"site.test": [["127.0.0.1"]]}) as names, \
            online(f"site.test:{host.port}", resolver=names.address) as sandbox:
        out = sandbox.shell(f"""
curl -sS http://site.test:{host.port}/
curl -sS -p http://site.test:{host.port}/tunnel
curl -sS http://10.1.2.3/ ; curl -sS -o /dev/null -w '%{{http_code}}\\n' http://10.1.2.3/
curl -sS https://10.1.2.3/ 2>&1 || true
curl -vsS https://site.test:25/ 2>&1 | grep -o '403 Forbidden.*' || true
wget -q -O - http://site.test:{host.port}/
python3 -c 'import urllib.request; print(urllib.request.urlopen("http://site.test:{host.port}/").read().decode(), end="")'
python3 -m http.server 8000 >/dev/null 2>&1 &
for i in $(seq 50); do sleep 0.1; curl -sS -o /dev/null -w 'own %{{http_code}}\\n' http://127.0.0.1:8000/ 2>/dev/null && break; done
getent hosts site.test || echo no name service
""")
        assert out.count("from outside") == 4
        assert "codex: 10.1.2.3 is no public address (private network); to allow it, add 'allow_private = 10.1.2.3:80'" in out
        assert "\n403\n" in out and "CONNECT tunnel failed, response 403" in out
        assert "403 Forbidden by Codex: port_not_allowed" in out
        assert "own 200" in out and "no name service" in out
        assert "GET /tunnel HTTP/1.1" in "".join(host.heads)


def test_there_is_no_other_way_out():
    """Without the proxy, and around it: no route, no name service, no socket of the host."""
    with Host(echo) as host, online(host) as sandbox:
        out = sandbox.shell(f"""
curl -sS --noproxy '*' -m 5 http://127.0.0.1:{host.port}/ 2>&1 || true
python3 - <<'END'
import socket
for family, address in ((socket.AF_INET, ("192.0.2.1", 53)), (socket.AF_INET6, ("2001:db8::1", 53))):
    s = socket.socket(family, socket.SOCK_DGRAM)
    try:
        s.connect(address)
        print("a route")
    except OSError as error:
        print(error.strerror)
END
cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '""")
        assert out.count("Network is unreachable") == 2 and "a route" not in out
        assert out.splitlines()[-1] == "lo" and host.connections == 0


def test_git_over_http(tmp_path):
    """Push and clone by git's smart protocol, with bodies of some size in both directions."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", tmp_path / "demo.git"], check=True)
    subprocess.run(["git", "-C", tmp_path / "demo.git", "config", "http.receivepack", "true"], check=True)
    with Files(tmp_path) as files, NameServer({"forge.test": [["127.0.0.1"]]}) as names, \
            online(f"forge.test:{files.port}", resolver=names.address) as sandbox:
        out = sandbox.shell(f"""
git init -q -b main . && git config user.name T && git config user.email t@t && echo 1 >f && git add f && git commit -qm one
head -c 3000000 /dev/urandom >big && git add big && git commit -qm two
git push -q http://forge.test:{files.port}/git/demo.git main
git clone -q http://forge.test:{files.port}/git/demo.git /tmp/copy && git -C /tmp/copy log --format=%s
cmp big /tmp/copy/big && echo same
git ls-remote https://forge.test:22/x 2>&1 || true""")
        assert out.startswith("two\none\nsame\n") and "403" in out.splitlines()[-1]
        assert any(method == "POST" and "git-receive-pack" in path for method, path, _ in files.requests)


@pytest.mark.slow
@pytest.mark.tools_of_others
def test_pip_from_an_index(tmp_path):
    """A static index, by name, in a virtual environment."""
    package = tmp_path / "simple" / "codexdemo"
    package.mkdir(parents=True)
    make_wheel(package, "codexdemo", "1.0", "def hello():\n    return 'hello from a wheel'\n")
    with Files(tmp_path) as files, NameServer({"index.test": [["127.0.0.1"]]}) as names, \
            online(f"index.test:{files.port}", resolver=names.address) as sandbox:
        out = sandbox.shell(f"""
python3 -m venv /tmp/venv
/tmp/venv/bin/pip install --no-cache-dir --disable-pip-version-check -i http://index.test:{files.port}/simple \
    --trusted-host index.test codexdemo
/tmp/venv/bin/python -c 'import codexdemo; print(codexdemo.hello())'
python3 -c 'import urllib.request; urllib.request.urlopen("https://10.9.8.7/")' 2>&1 | tail -1""", seconds=300)
        assert "hello from a wheel" in out
        assert "Tunnel connection failed: 403 Forbidden by Codex: private_address" in out
        assert {headers["Host"] for _, _, headers in files.requests} == {f"index.test:{files.port}"}


@pytest.mark.slow
@pytest.mark.tools_of_others
def test_npm_from_its_registry():
    """The real one, over TLS in tunnels: with dependencies, many at once. In `common`, where their TLS is checked, it is
    the dependencies of a whole task (test_main_internet)."""
    if not has_registry():
        pytest.skip("no way to registry.npmjs.org from here")
    with online(access="public") as sandbox:
        out = sandbox.shell("""
echo '{"name":"p","version":"1.0.0","dependencies":{"express":"4.19.2"}}' >package.json
npm install --no-audit --no-fund 2>&1 | tail -2
node -e 'console.log(require("express/package.json").version, Object.keys(require("express")).includes("Router"))'
npm view left-pad version""", seconds=300)
        assert "4.19.2 true" in out and "1.3.0" in out


@pytest.mark.tools_of_others
def test_apt_through_the_proxy(tmp_path):
    """As the container's root, from a repository of plain files, with an environment that nobody set."""
    build, site = tmp_path / "build", tmp_path / "site"
    for directory in (build / "DEBIAN", build / "usr/bin", site):
        directory.mkdir(parents=True)
    control = "Package: codex-demo\nVersion: 1\nArchitecture: all\nMaintainer: T <t@t>\nDescription: test\n"
    (build / "DEBIAN/control").write_text(control)
    (build / "usr/bin/codex-demo").write_text("#!/bin/sh\necho hello from apt\n")
    (build / "usr/bin/codex-demo").chmod(0o755)
    package = site / "codex-demo_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", build, package], check=True, capture_output=True)
    data = package.read_bytes()
    index = f"{control}Filename: ./{package.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (site / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    with Files(site) as files, NameServer({"deb.test": [["127.0.0.1"]]}) as names, \
            online(f"deb.test:{files.port}", resolver=names.address) as sandbox:
        out = sandbox.shell(f"""
rm -rf /etc/apt/sources.list.d && echo 'deb [trusted=yes] http://deb.test:{files.port}/ ./' >/etc/apt/sources.list
env -i PATH=$PATH sh -c 'apt-get update && apt-get install -y codex-demo' 2>&1
codex-demo""", options=("--root",))
        assert out.endswith("hello from apt\n")


@pytest.mark.slow
@pytest.mark.tools_of_others
def test_maven_and_gradle_find_the_proxy_in_their_settings():
    """Maven asks for its repository by the proxy: the refusal says so. Gradle reads its own properties."""
    with OnlineSandbox({"access": "list"}) as sandbox:
        out = sandbox.shell("""
grep -c 64081 ~/.gradle/gradle.properties
command -v mvn >/dev/null || { echo no maven; exit 0; }
cat >pom.xml <<'END'
<project><modelVersion>4.0.0</modelVersion><artifactId>t</artifactId>
<parent><groupId>no.such</groupId><artifactId>parent</artifactId><version>1</version></parent></project>
END
mvn -B validate 2>&1 | grep -v INFO || true""")
        assert out.splitlines()[0] == "2"
        assert "no maven" in out or "host_not_allowed" in out


def test_without_internet_there_is_nobody():
    """`codex-runner --sandbox` alone: the variables lead nowhere, and say so at once."""
    with Sandbox() as sandbox:
        out = sandbox.shell("curl -sS -m 5 https://example.com 2>&1 || true")
        assert "Failed to connect to 127.0.0.1 port 64081" in out


def test_the_gateway_ends_with_the_sandbox():
    """Also while connections are open; nothing is left (checked by the sandbox's end)."""
    with Host(echo) as host, online(host) as sandbox:
        out = sandbox.shell(f"""
exec 3<>/dev/tcp/127.0.0.1/64081
printf 'CONNECT 127.0.0.1:{host.port} HTTP/1.1\\r\\n\\r\\n' >&3
head -1 <&3
sleep 100 <&3 >/dev/null &""")
        assert "200 Connection established" in out
