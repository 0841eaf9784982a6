"""Who may ask a service of a real cluster, how often, and what its certificate is: Secrets that kubelet brings, changed under way."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from dev.cluster.certificates import Authority
from tests.e2e.asking import Answer, Gateway, meanwhile
from tests.e2e.models import Models
from tests.e2e.platform import Platform, secret
from tests.tokens import AUDIENCE, ISSUER, new_key, public_pem, token

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("installed"), pytest.mark.timeout(600)]
SERVICE, TOKENS = "guarded", "tokens"
RATE = {"requests": 30, "seconds": 10}


class Guarded:
    """A service that asks for keys, one that asks for tokens, and those who hand these out."""

    def __init__(self, platform: Platform, authority: Authority) -> None:
        self.platform, self.authority, self.login = platform, authority, new_key()

    def certify(self, file: str) -> None:
        """Give it a certificate that was not there before."""
        host = f"{SERVICE}.{self.platform.namespace}.svc"
        certificate, key = self.authority.issue(file, SERVICE, hosts=[host])
        entries = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
        self.platform.apply(secret(self.platform, "guarded-tls", entries, "kubernetes.io/tls"))

    def admit(self, keys: Mapping[str, str]) -> None:
        """These clients, each with its key, and nobody else."""
        self.platform.apply(secret(self.platform, "guarded-keys", keys))

    def sign_with(self, login: RSAPrivateKey) -> None:
        """The login service has this key from now on."""
        self.login = login
        self.platform.apply(secret(self.platform, "login", {"public.pem": public_pem(login).decode()}))

    def start(self) -> None:
        self.authority.create()
        self.certify("first")
        self.sign_with(self.login)
        self.admit({name: f"key-of-{name}" for name in ("ann", "greedy", "steady", "leaving")})
        gateway = {
            "replicas": 1,
            "auth": {"apiKeysSecret": "guarded-keys"},
            "tls": {"secretName": "guarded-tls"},
            "rateLimits": {"perClient": RATE},
        }
        model = {"claimName": "models", "path": "digits/v1"}
        jwt = {"publicKeySecret": "login", "issuer": ISSUER, "audience": AUDIENCE}
        self.platform.apply(
            self.platform.service(SERVICE, model, gateway=gateway),
            self.platform.service(TOKENS, model, gateway={"replicas": 1, "jwt": jwt}),
        )
        for service in (SERVICE, TOKENS):
            self.platform.phase("tyi", service, "Ready", 240)

    def gateway(self) -> Gateway:
        return Gateway(self.platform, SERVICE, ssl.create_default_context(cafile=self.authority.certificate))

    def kubelet_looks(self) -> None:
        """At a pod that changes it does at once, at others once a minute."""
        chosen = ("-l", f"trainyard.dev/service in ({SERVICE},{TOKENS}),trainyard.dev/role=gateway")
        mark = f"looked-at={time.time_ns()}"
        self.platform.cluster.kubectl("annotate", "pods", *chosen, "-n", self.platform.namespace, "--overwrite", mark)

    def sees(self, what: str, look: Callable[[], bool]) -> None:
        """Wait until a changed Secret has come so far."""

        def again() -> bool:
            self.kubelet_looks()
            return look()

        self.platform.until(what, again, 180)

    def gateway_pods(self) -> list[tuple[str, int]]:
        """Uid and starts of containers of each."""
        pods = self.platform.pods(f"trainyard.dev/service in ({SERVICE},{TOKENS}),trainyard.dev/role=gateway")
        return [
            (pod["metadata"]["uid"], sum(each["restartCount"] for each in pod["status"]["containerStatuses"]))
            for pod in pods
        ]


@pytest.fixture(scope="module")
def guarded(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(models.platform, Authority(tmp_path_factory.mktemp("pki")))
    made.start()
    yield made
    for service in (SERVICE, TOKENS):
        made.platform.delete("tyi", service)


def key(client: str) -> dict[str, str]:
    return {"X-API-Key": f"key-of-{client}"}


def bearer(login: RSAPrivateKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(login)}"}


def test_only_a_caller_with_a_key_is_answered_and_only_over_tls(guarded: Guarded) -> None:
    gateway = guarded.gateway()
    without = gateway.infer()
    assert (without.status, without.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert gateway.infer(key("nobody")).status == 401
    assert gateway.infer(key("ann")).status == 200
    assert gateway.infer({"Authorization": "Bearer key-of-ann"}).status == 200
    assert Gateway(guarded.platform, SERVICE).infer(key("ann")).status == 403


def test_a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_answered(guarded: Guarded) -> None:
    gateway = guarded.gateway()
    asked = [gateway.infer(key("greedy")) for _ in range(RATE["requests"])]
    assert [each.status for each in asked] == [200] * RATE["requests"]
    refused = gateway.infer(key("greedy"))
    assert (refused.status, refused.headers["Retry-After"]) == (429, str(RATE["seconds"]))
    assert gateway.infer(key("ann")).status == 200


def test_a_renewed_certificate_and_changed_keys_are_taken_over_without_a_lost_request_or_a_restart(
    guarded: Guarded,
) -> None:
    gateway, pods = guarded.gateway(), guarded.gateway_pods()
    first = gateway.infer(key("steady"))
    with meanwhile(lambda: gateway.infer(key("steady")), pause=0.5) as came:
        guarded.certify("second")
        guarded.admit({name: f"key-of-{name}" for name in ("ann", "greedy", "steady", "new")})
        old = guarded.login
        guarded.sign_with(new_key())
        guarded.sees("the new key being good", lambda: gateway.infer(key("new")).status == 200)
        guarded.sees("the old key being none", lambda: gateway.infer(key("leaving")).status == 401)
        guarded.sees("the new certificate", lambda: _shown(came[-1]) not in ("", first.certificate))
        tokens = Gateway(guarded.platform, TOKENS)
        guarded.sees("the new login", lambda: tokens.infer(bearer(guarded.login)).status == 200)
        assert tokens.infer(bearer(old)).status == 401
    assert [each for each in came if not isinstance(each, Answer) or each.status != 200] == []
    assert len({_shown(each) for each in came}) == 2
    assert guarded.gateway_pods() == pods


def _shown(answer: Answer | str) -> str:
    return answer.certificate if isinstance(answer, Answer) else ""
