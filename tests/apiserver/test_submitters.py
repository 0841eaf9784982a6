"""What a job or service may name is decided by the rights of whoever submits it, by the chart's ValidatingAdmissionPolicy.

Each case is submitted by somebody who may create our kinds and nothing else, and again with the one right that lacks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.cluster.api import MERGE_PATCH, Api, ApiError
from tests import builders as b
from tests.apiserver.yard import Object, Yard

pytestmark = pytest.mark.apiserver

FORBIDDEN = 403
RBAC = "/apis/rbac.authorization.k8s.io/v1"
OUR_KINDS = {
    "apiGroups": ["trainyard.dev"],
    "resources": ["trainingjobs", "inferenceservices"],
    "verbs": ["get", "create", "patch"],
}


def right(verb: str, resource: str, *names: str) -> Object:
    """A rule of a Role, for one name or for all."""
    rule: Object = {"apiGroups": [""], "resources": [resource], "verbs": [verb]}
    return rule | ({"resourceNames": list(names)} if names else {})


PODS = right("create", "pods")


@dataclass
class Submitter:
    """A service account with a role of its own in the namespace of a yard."""

    yard: Yard
    api: Api

    def may(self, *rules: Object) -> None:
        """Beside creating our kinds. The caller waits: roles are read from a cache."""
        path = f"{RBAC}/namespaces/{self.yard.namespace}/roles/submitter"
        self.yard.api.patch(path, {"rules": [OUR_KINDS, *rules]})

    def refusal(self, obj: Object) -> str:
        """Why the object may not be created; empty if it may."""
        return self._answer("POST", self.yard.path(obj["kind"]), obj)

    def refusal_of_change(self, kind: str, body: Object) -> str:
        """Why the object called mine may not be changed so; empty if it may."""
        return self._answer("PATCH", f"{self.yard.path(kind)}/mine", body, MERGE_PATCH)

    def _answer(self, method: str, path: str, body: Object, content_type: str = "application/json") -> str:
        try:
            self.api.request(method, f"{path}?dryRun=All", body, content_type=content_type)
        except ApiError as error:
            if error.code != FORBIDDEN:
                raise
            return str(error)
        return ""

    def job(self, *modifiers: b.Modifier) -> Object:
        return b.training_job("mine", b.namespace(self.yard.namespace), b.queue(self.yard.queue), *modifiers)

    def service(self, *modifiers: b.Modifier) -> Object:
        return b.inference_service("mine", b.namespace(self.yard.namespace), b.queue(self.yard.queue), *modifiers)


@pytest.fixture(scope="module")
def submitter(installed: Cluster) -> Iterator[Submitter]:
    yard = Yard(installed).open()
    yard.kubectl("create", "serviceaccount", "submitter")
    yard.api.create(
        f"{RBAC}/namespaces/{yard.namespace}/roles",
        {"apiVersion": RBAC.removeprefix("/apis/"), "kind": "Role", "metadata": {"name": "submitter"}, "rules": []},
    )
    account = f"--serviceaccount={yard.namespace}:submitter"
    yard.kubectl("create", "rolebinding", "submitter", "--role=submitter", account)
    token = yard.kubectl("create", "token", "submitter").strip()
    found = Submitter(yard, Api(yard.api.server, token, yard.api.authority))
    found.may()
    probe = found.job(b.template(spec={}))
    yard.until(lambda: "lacks it" in found.refusal(probe), about="the policy is read by the API server")
    yield found
    yard.close()


def _container(**fields: Any) -> b.Modifier:
    return b.template(spec={"containers": [{"name": "trainer", **fields}]})


def _volume(**source: Any) -> b.Modifier:
    return b.template(spec={"volumes": [{"name": "v", **source}]})


def _env(secret: str) -> Object:
    return {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}


def _role(obj: Object) -> None:
    b.role("loader")(obj)
    obj["spec"]["roles"][0]["template"] = {"spec": {"containers": [{"name": "side", "env": [_env("db")]}]}}


_DB = right("get", "secrets", "db")
_ACCOUNT = right("impersonate", "serviceaccounts", "trainer")
_CSI = {"driver": "d", "nodePublishSecretRef": {"name": "db"}}
_TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
_PROGRAM = {"command": ["python", "train.py"]}


def _own_program(obj: Object) -> None:
    del obj["spec"]["model"], obj["spec"]["dataset"]
    obj["spec"]["entrypoint"] = _PROGRAM


JOBS: dict[str, tuple[b.Modifier, Object, str]] = {
    # what is asked: the job, the right that lacks, and the beginning of the refusal
    "a template": (b.template(spec={}), PODS, "spec.workers.template: what runs here is of your own making"),
    "a program": (_own_program, PODS, "spec.entrypoint: what runs here is of your own making"),
    "a role": (b.role("loader"), PODS, "spec.roles[loader].entrypoint: what runs here is of your own making"),
    "a mounted Secret": (
        _volume(secret={"secretName": "db"}),
        _DB,
        "spec.workers.template.spec.volumes: secrets/db takes the right to get it",
    ),
    "a projected Secret": (_volume(projected={"sources": [{"secret": {"name": "db"}}]}), _DB, "spec.volumes"),
    "a Secret of a driver": (_volume(csi=_CSI), _DB, "spec.volumes"),
    "a Secret of a file server": (
        _volume(cephfs={"monitors": ["m"], "secretRef": {"name": "db"}}),
        _DB,
        "spec.volumes",
    ),
    "a Secret in a variable": (
        _container(env=[{"name": "A", "value": "1"}, _env("db")]),
        _DB,
        "spec.workers.template.spec.containers: secrets/db takes",
    ),
    "a Secret of variables": (_container(envFrom=[{"secretRef": {"name": "db"}}]), _DB, "spec.containers"),
    "a Secret of an init container": (
        b.template(spec={"initContainers": [{"name": "first", "env": [_env("db")]}]}),
        _DB,
        "spec.containers",
    ),
    "a Secret to pull with": (b.template(spec={"imagePullSecrets": [{"name": "db"}]}), _DB, "spec.imagePullSecrets"),
    "a role's Secret": (_role, _DB, "spec.roles[loader].template.spec.containers: secrets/db takes"),
    "an account": (
        b.template(spec={"serviceAccountName": "trainer"}),
        _ACCOUNT,
        "spec.workers.template.spec.serviceAccountName: serviceaccounts/trainer takes the right to impersonate it",
    ),
    "an account by its old name": (b.template(spec={"serviceAccount": "trainer"}), _ACCOUNT, "spec.serviceAccountName"),
    "the default account's token": (
        b.template(spec={"automountServiceAccountToken": True}),
        right("impersonate", "serviceaccounts", "default"),
        "serviceaccounts/default takes the right to impersonate it",
    ),
    "the default account's token as a volume": (
        _volume(projected=_TOKEN),
        right("impersonate", "serviceaccounts", "default"),
        "serviceaccounts/default takes the right to impersonate it",
    ),
}


@pytest.mark.fault(82)
@pytest.mark.parametrize("what", JOBS)
def test_a_job_names_only_what_its_submitter_may_use(submitter: Submitter, what: str) -> None:
    modifier, needed, refusal = JOBS[what]
    job = submitter.job(modifier)
    others = [] if needed is PODS else [PODS]
    submitter.may(*others)
    submitter.yard.until(lambda: refusal in submitter.refusal(job), about=what)
    assert f"in namespace {submitter.yard.namespace}" in submitter.refusal(job)
    assert f"system:serviceaccount:{submitter.yard.namespace}:submitter lacks it" in submitter.refusal(job)
    submitter.may(*others, needed)
    submitter.yard.until(lambda: submitter.refusal(job) == "", about=what)


SERVICES = {
    "spec.gateway.auth.apiKeysSecret": {"auth": {"apiKeysSecret": "db"}},
    "spec.gateway.jwt.publicKeySecret": {"jwt": {"publicKeySecret": "db"}},
    "spec.gateway.tls.secretName": {"tls": {"secretName": "db"}},
}


@pytest.mark.fault(82)
@pytest.mark.parametrize("field", SERVICES)
def test_a_gateway_is_given_only_secrets_that_its_submitter_may_read(submitter: Submitter, field: str) -> None:
    service = submitter.service(b.spec(gateway=SERVICES[field]))
    submitter.may()
    submitter.yard.until(lambda: f"{field}: secrets/db takes the right to get it" in submitter.refusal(service))
    submitter.may(_DB)
    submitter.yard.until(lambda: submitter.refusal(service) == "")


def test_a_services_template_takes_the_same_rights(submitter: Submitter) -> None:
    service = submitter.service(_volume(secret={"secretName": "db"}))
    submitter.may(PODS)
    submitter.yard.until(
        lambda: "spec.template.spec.volumes: secrets/db takes the right to get it" in submitter.refusal(service)
    )


def test_without_a_template_no_right_but_that_to_submit_is_taken(submitter: Submitter) -> None:
    submitter.may()
    submitter.yard.until(lambda: submitter.refusal(submitter.job(b.template(spec={}))))
    assert submitter.refusal(submitter.job(b.own_claim())) == ""
    assert submitter.refusal(submitter.service(b.spec(gateway={"replicas": 1}))) == ""


def test_each_of_several_names_is_asked_about(submitter: Submitter) -> None:
    names = [f"s{number}" for number in range(8)]
    job = submitter.job(_container(env=[_env(name) | {"name": f"{name}{twice}"} for name in names for twice in "ab"]))
    submitter.may(PODS, right("get", "secrets", *names[:-1]))
    submitter.yard.until(lambda: "secrets/s7 takes the right to get it" in submitter.refusal(job))
    submitter.may(PODS, right("get", "secrets", *names))
    submitter.yard.until(lambda: submitter.refusal(job) == "")


def test_more_names_take_a_right_to_all(submitter: Submitter) -> None:
    names = [f"s{number}" for number in range(9)]
    job = submitter.job(_container(env=[_env(name) for name in names]))
    submitter.may(PODS, right("get", "secrets", *names))
    submitter.yard.until(lambda: "names more than 8 different Secrets" in submitter.refusal(job))
    submitter.may(PODS, right("get", "secrets"))
    submitter.yard.until(lambda: submitter.refusal(job) == "")


def test_only_what_is_new_is_asked_about(submitter: Submitter) -> None:
    yard = submitter.yard
    given = {"gateway": {"tls": {"secretName": "db"}}, "template": {"spec": {"imagePullSecrets": [{"name": "db"}]}}}
    yard.create(submitter.service(b.spec(**given)))
    submitter.may(PODS)
    changed = {"spec": {"template": {"spec": {"hostname": "x"}}}}
    yard.until(
        lambda: "imagePullSecrets: secrets/db takes the" in submitter.refusal_of_change("InferenceService", changed)
    )
    annotated = {"spec": {"template": {"metadata": {"annotations": {"inject": "yes"}}}}}
    assert "imagePullSecrets: secrets/db takes the" in submitter.refusal_of_change("InferenceService", annotated)
    for unasked in ({"metadata": {"labels": {"a": "b"}}}, {"spec": {"replicas": 2}}):
        assert submitter.refusal_of_change("InferenceService", unasked) == ""
    other = {"spec": {"gateway": {"tls": {"secretName": "other"}}}}
    assert "secrets/other takes the right" in submitter.refusal_of_change("InferenceService", other)
