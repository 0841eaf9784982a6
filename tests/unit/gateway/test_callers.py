"""Real HAProxy: who may ask, how often, over TLS; and that every combination of options is a valid configuration."""

import asyncio
import datetime as dt
import hashlib
import itertools
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from gateway.config import Settings
from gateway.credentials import Credentials, differences, keys
from gateway.render import write

from tests import tokens
from tests.unit.gateway.rig import HOST, UID, Replica, haproxy, needs_haproxy, replicas

pytestmark = needs_haproxy
KEY, OTHER = tokens.new_key(), tokens.new_key()


def secret(folder: Path, **entries: str) -> Path:
    """A mounted Secret, with the links that kubelet makes."""
    data = folder / "keys" / "..data"
    data.mkdir(parents=True, exist_ok=True)
    for old in folder.joinpath("keys").iterdir():
        if old.is_symlink():
            old.unlink()
    for name, value in entries.items():
        (data / name).write_text(value)
        (folder / "keys" / name).symlink_to(data / name)
    return folder / "keys"


def pair(folder: Path, name: str, key: rsa.RSAPrivateKey = KEY) -> Path:
    """A mounted Secret of type kubernetes.io/tls."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(exist_ok=True)
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(*form))
    return folder


def public(folder: Path, key: rsa.RSAPrivateKey = KEY) -> Path:
    (folder / "public.pem").write_bytes(tokens.public_pem(key))
    return folder / "public.pem"


def token(key: rsa.RSAPrivateKey = KEY, algorithm: str = "RS256", **claims: Any) -> str:
    return tokens.token(key, algorithm, **claims)


async def test_a_key_is_asked_for_and_goes_no_further(tmp_path: Path) -> None:
    a, folder = Replica("a"), secret(tmp_path, ann="key-of-ann\n", bob="key-of-bob")
    async with replicas(a), haproxy(keys_folder=folder) as running:
        await running.follow(a.member)
        wrongs: tuple[Any, ...] = (
            {},
            {"Authorization": "Bearer no"},
            {"X_API_Key": "no"},
            {"Authorization": "Basic a2V5"},
        )
        for wrong in wrongs:
            status, body, headers = await running.post(**wrong)
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "expected a key of this service" in body["error"]
        assert (await running.post(Authorization="Bearer key-of-ann"))[0] == 200
        assert (await running.post(X_API_Key="key-of-bob"))[0] == 200
        assert not any("Authorization" in headers or "X-API-Key" in headers for headers in a.headers)
        assert "key-of" not in running.settings.keys_map.read_text()
        assert "key-of" not in (running.settings.folder / "haproxy.log").read_text()


async def test_a_rotated_secret_is_taken_over_while_haproxy_runs(tmp_path: Path) -> None:
    a, folder = Replica("a"), secret(tmp_path, ann="old")
    async with replicas(a), haproxy(keys_folder=folder) as running:
        await running.follow(a.member)
        assert (await running.post(X_API_Key="old"))[0] == 200
        secret(tmp_path, ann="new", bob="another")
        await Credentials(running.settings, running.runtime).look()
        assert [(await running.post(X_API_Key=key))[0] for key in ("old", "new", "another")] == [401, 200, 200]


def test_keys_are_read_by_their_hash_and_empty_ones_are_none(tmp_path: Path) -> None:
    folder = secret(tmp_path, ann="one", bob=" \n")
    settings = Settings("s", UID, keys_folder=folder)
    assert keys(settings) == {hashlib.sha256(b"one").hexdigest(): "ann"}
    assert keys(replace(settings, keys_folder=tmp_path / "none")) == {}
    assert differences({"b": "bob"}, {"a": "ann"}, "m") == ["add map m b bob", "del map m a"]


async def test_each_client_has_its_own_limit_and_learns_when_to_come_back(tmp_path: Path) -> None:
    a, folder = Replica("a"), secret(tmp_path, ann="a", bob="b")
    async with replicas(a), haproxy(keys_folder=folder, rate_requests=3, rate_seconds=30) as running:
        await running.follow(a.member)
        answers = [await running.post(X_API_Key="a") for _ in range(5)]
        assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
        assert answers[-1][2]["Retry-After"] == "30"
        assert "more than 3 requests in 30 s" in answers[-1][1]["error"]
        assert (await running.post(X_API_Key="b"))[0] == 200


async def test_without_keys_the_limit_is_by_address_and_refused_requests_do_not_count() -> None:
    a = Replica("a")
    async with replicas(a), haproxy(rate_requests=4, rate_seconds=1, gateways=2) as running:
        await running.follow(a.member)
        statuses = [(await running.post())[0] for _ in range(6)]
        assert statuses == [200, 200, 429, 429, 429, 429]
        await asyncio.sleep(2.1)
        assert (await running.post())[0] == 200


async def test_a_token_must_be_signed_in_time_and_meant_for_us(tmp_path: Path) -> None:
    a = Replica("a")
    options = {"jwt_key": public(tmp_path), "jwt_issuer": tokens.ISSUER, "jwt_audience": tokens.AUDIENCE}
    async with replicas(a), haproxy(**options) as running:
        await running.follow(a.member)
        expected = {
            token(): 200,
            token(aud=["other", "digits"]): 200,
            token(OTHER): 401,
            token(algorithm="none"): 401,
            token(algorithm="HS256"): 401,
            token(exp=int(time.time()) - 5): 401,
            token(exp=None): 401,
            token(nbf=int(time.time()) + 50): 401,
            token(iss="https://else.test"): 403,
            token(aud="other"): 403,
            token(aud=["dig", "its"]): 403,
            token(sub=None): 403,
            "": 401,
            "a.b.c": 401,
        }
        found = {text: (await running.post(Authorization=f"Bearer {text}"))[0] for text in expected}
        assert list(found.values()) == list(expected.values())
        assert not any("Authorization" in headers for headers in a.headers)


async def test_a_changed_key_of_tokens_is_in_force_while_haproxy_runs(tmp_path: Path) -> None:
    a = Replica("a")
    async with replicas(a), haproxy(jwt_key=public(tmp_path)) as running:
        await running.follow(a.member)
        credentials = Credentials(running.settings, running.runtime)

        async def statuses() -> list[int]:
            return [(await running.post(Authorization=f"Bearer {token(key)}"))[0] for key in (KEY, OTHER)]

        await credentials.look()
        assert await statuses() == [200, 401]
        public(tmp_path, OTHER)
        await credentials.look()
        assert await statuses() == [401, 200]
        (tmp_path / "public.pem").write_text("no key")
        await credentials.look()
        assert await statuses() == [401, 200], "a bad one changes nothing"
        public(tmp_path)
        await credentials.look()
        assert await statuses() == [200, 401], "one that was in force before may come back"


async def test_a_new_certificate_is_shown_while_haproxy_runs_and_plain_http_is_refused(tmp_path: Path) -> None:
    a, folder = Replica("a"), pair(tmp_path / "tls", "first")
    async with replicas(a), haproxy(tls_folder=folder) as running:
        port = int(running.settings.tls_bind.rpartition(":")[2])
        await running.follow(a.member)
        assert (await running.post())[0] == 403
        assert await shown(port) == "first"
        async with running.session.post(f"https://{HOST}:{port}/infer", ssl=False) as response:
            assert response.status == 200
        credentials = Credentials(running.settings, running.runtime)
        pair(tmp_path / "tls", "second", OTHER)
        await credentials.look()
        assert await shown(port) == "second"
        (folder / "tls.key").write_text("no key")
        await credentials.look()
        assert await shown(port) == "second", "a bad one changes nothing"
        pair(tmp_path / "tls", "third")
        await credentials.look()
        assert await shown(port) == "third"


async def shown(port: int) -> str:
    """Common name of the certificate at a port."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    certificate = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.mark.slow
async def test_every_combination_of_options_is_a_valid_configuration(tmp_path: Path) -> None:
    folder, tls, key = secret(tmp_path, ann="a"), pair(tmp_path / "tls", "digits"), public(tmp_path)
    callers: list[dict[str, Any]] = [
        {},
        {"keys_folder": folder},
        {"jwt_key": key, "jwt_issuer": "https://login.test/realms/x", "jwt_audience": "digits"},
        {"jwt_key": key},
    ]
    places: list[dict[str, Any]] = [{}, {"affinity_header": "X-Session-Id"}, {"affinity_prefix_bytes": 512}]
    rest: list[list[dict[str, Any]]] = [
        [{}, {"rate_requests": 5}],
        [{}, {"tls_folder": tls}],
        [{}, {"hold_seconds": 60}],
        [{}, {"retries": 0}],
    ]
    for number, options in enumerate(itertools.product(callers, places, *rest)):
        settings = Settings("digits", UID, folder=tmp_path, grpc=True)
        for option in options:
            settings = replace(settings, **option)
        write(settings)
        checked = await asyncio.create_subprocess_exec(
            "haproxy", "-c", "-f", str(settings.haproxy_config), stderr=-1, stdout=-1
        )
        _, complaints = await checked.communicate()
        assert checked.returncode == 0, (number, options, complaints.decode())
        assert b"WARNING" not in complaints, (number, options, complaints.decode())
