"""How the commands reach the API server: whom they trust, how they prove themselves, and what they make of strange answers."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.cli.stub_api import (
    TOKEN,
    Object,
    StubApi,
    a_person,
    certificates,
    kubeconfig,
    relaying,
    serving,
    tls,
)
from trainyard.cli.access import access
from trainyard.cli.api_server import ApiServer
from trainyard.cli.errors import CliError
from trainyard.cluster.errors import ClusterError, Forbidden, ServerError, Unreachable

OWN, OTHER = certificates(), certificates()
pytestmark = pytest.mark.usefixtures("no_proxy")


class Rig:
    """One server, and kubeconfigs for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.api = StubApi(objects={"/api/v1/nodes/a": {"kind": "Node"}})
        self._folder, self._stack = folder, stack

    def serve(self, *, secure: bool = True, clients_of: bytes = b"") -> None:
        context = tls(OWN, self._folder, clients_of=clients_of) if secure else None
        self.api.url = self._stack.enter_context(serving(self.api.answer, context))

    def config(self, cluster: Object, user: Object | None = None) -> Path:
        return kubeconfig(self._folder / "config", {"server": self.api.url, **cluster}, user or {"token": TOKEN})

    def asked(self, path: Path) -> Object:
        return ApiServer(access(path, None)).get("/api/v1/nodes/a")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


def data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


TRUSTED: Object = {"certificate-authority-data": data(OWN.authority)}


# Trust.


def test_a_server_of_the_kubeconfigs_authority_is_trusted(rig: Rig, tmp_path: Path) -> None:
    rig.serve()
    assert rig.asked(rig.config(TRUSTED)) == {"kind": "Node"}
    (tmp_path / "ca.crt").write_bytes(OWN.authority)
    assert rig.asked(rig.config({"certificate-authority": "ca.crt"})) == {"kind": "Node"}
    assert {each.authorization for each in rig.api.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"certificate-authority-data": data(OTHER.authority)},
        {**TRUSTED, "tls-server-name": "another.example"},
    ],
)
def test_another_server_is_told_nothing(rig: Rig, cluster: Object) -> None:
    rig.serve()
    with pytest.raises(Unreachable, match="certificate verify failed"):
        rig.asked(rig.config(cluster))
    assert rig.api.requests == []


def test_trust_may_be_waived_by_the_kubeconfig(rig: Rig) -> None:
    rig.serve()
    assert rig.asked(rig.config({"insecure-skip-tls-verify": True})) == {"kind": "Node"}


def test_without_tls_no_token_is_sent(rig: Rig) -> None:
    rig.serve(secure=False)
    assert rig.asked(rig.config({})) == {"kind": "Node"}
    assert rig.api.requests[0].authorization == ""


# Proof.


def test_a_client_certificate_proves_who_one_is(rig: Rig) -> None:
    certificate, key = a_person()
    rig.serve(clients_of=certificate)
    ann = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    assert rig.asked(rig.config(TRUSTED, ann)) == {"kind": "Node"}
    with pytest.raises(Unreachable):
        rig.asked(rig.config(TRUSTED))


def test_what_is_not_read_plainly_is_left_to_the_client(rig: Rig, tmp_path: Path) -> None:
    rig.serve()
    (tmp_path / "token").write_text(TOKEN)
    assert rig.asked(rig.config(TRUSTED, {"tokenFile": str(tmp_path / "token")})) == {"kind": "Node"}
    assert rig.api.requests[0].authorization == f"Bearer {TOKEN}"


def test_a_token_that_ended_is_asked_for_anew(rig: Rig) -> None:
    rig.serve()
    path = rig.config(TRUSTED)
    server = ApiServer(access(path, None), lambda: access(path, None))
    rig.api.token = "of tomorrow"
    with pytest.raises(Forbidden, match="Unauthorized"):
        server.get("/api/v1/nodes/a")
    rig.config(TRUSTED, {"token": "of tomorrow"})
    assert server.get("/api/v1/nodes/a") == {"kind": "Node"}


@pytest.mark.parametrize(
    ("cluster", "user", "words"),
    [
        ({"server": "ftp://a"}, {}, "names 'ftp://a' as the cluster's server; expected https://HOST:PORT"),
        ({"server": "https://a:b"}, {}, "names 'https://a:b' as the cluster's server; expected https://HOST:PORT"),
        ({"certificate-authority-data": "???"}, {}, "certificate-authority-data: expected PEM text in base64"),
        (
            {"certificate-authority": "absent.crt"},
            {},
            "absent.crt, which the kubeconfig names, cannot be read: No such",
        ),
        ({"certificate-authority-data": data(b"nothing")}, {}, "the kubeconfig's certificates cannot be used"),
        (
            TRUSTED,
            {"client-certificate-data": data(OWN.certificate), "client-key-data": data(OTHER.key)},
            "certificates",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(rig: Rig, cluster: Object, user: Object, words: str) -> None:
    rig.api.url = "https://127.0.0.1:1"
    with pytest.raises(CliError) as error:
        access(rig.config(cluster, user), None)
    assert words in str(error.value)


def test_a_context_that_is_not_there(rig: Rig) -> None:
    with pytest.raises(CliError, match=r"no cluster: .*elsewhere"):
        access(rig.config({}), "elsewhere")


# Ways and answers.


def test_a_proxy_is_used_where_the_kubeconfig_or_the_environment_names_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.serve()
    with relaying() as (proxy, heads):
        assert rig.asked(rig.config({**TRUSTED, "proxy-url": f"http://ann:secret@{proxy}"})) == {"kind": "Node"}
        assert f"Proxy-Authorization: Basic {data(b'ann:secret')}" in heads[0]
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        assert rig.asked(rig.config(TRUSTED)) == {"kind": "Node"}
        assert heads[1].startswith(f"CONNECT {rig.api.url.removeprefix('https://')} ")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert rig.asked(rig.config(TRUSTED)) == {"kind": "Node"}
        assert len(heads) == 2


def test_a_server_may_have_a_path_of_its_own(rig: Rig) -> None:
    rig.serve()
    rig.api.objects["/k8s/clusters/c1/api/v1/nodes/a"] = {"kind": "Node", "metadata": {}}
    assert rig.asked(rig.config({**TRUSTED, "server": f"{rig.api.url}/k8s/clusters/c1/"})) == {
        "kind": "Node",
        "metadata": {},
    }


def test_a_proxy_of_another_kind_is_refused(rig: Rig) -> None:
    rig.serve()
    with pytest.raises(CliError, match=r"the proxy 127.0.0.1:1 cannot be used; expected http://HOST:PORT"):
        rig.asked(rig.config({**TRUSTED, "proxy-url": "socks5://ann:secret@127.0.0.1:1"}))


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (302, "", Unreachable, "it sends elsewhere, to https://elsewhere.example/"),
        (200, "<html>", Unreachable, "what answers there is no API server"),
        (200, "[]", Unreachable, "what answers there is no API server"),
        (502, "<html>bad gateway</html>", ServerError, "bad gateway"),
        (500, "", ServerError, "HTTP 500"),
    ],
)
def test_strange_answers(rig: Rig, code: int, body: str, kind: type[ClusterError], words: str) -> None:
    rig.serve()
    rig.api.errors["GET", "/api/v1/nodes/a"] = [(code, body)]
    with pytest.raises(kind, match=words):
        rig.asked(rig.config(TRUSTED))


def test_a_stream_that_breaks_is_told_of(rig: Rig) -> None:
    rig.serve()

    def lines() -> Iterator[str]:
        yield "first"
        raise ConnectionResetError

    rig.api.logs["a"] = lines()
    found = ApiServer(access(rig.config(TRUSTED), None)).lines("/api/v1/namespaces/n/pods/a/log", {})
    assert next(found) == "first"
    with pytest.raises(Unreachable):
        next(found)


def test_the_commands_load_no_kubernetes_client() -> None:
    names = ", ".join(f"trainyard.cli.{each}" for each in ("submit", "get", "logs"))
    program = f"import sys, {names}; print(sorted({{'kubernetes', 'aiohttp', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
