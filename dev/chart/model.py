"""Types of the chart's values. What a value means and its default stand in values.yaml, beside the value.

A `Section` groups values of ours; other models are values with a shape of their own, most of them Kubernetes'. Bounds that
the operator's own settings have are taken from there.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trainyard.api.failure import FailureRow
from trainyard.config import Config

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "pattern")


def as_in_config(setting: str) -> dict[str, Any]:
    """The bounds of a setting of the operator, for the schema of the value that becomes it."""
    told = Config.model_json_schema()["properties"][setting]
    return {bound: told[bound] for bound in _BOUNDS if bound in told}


class _Closed(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Section(_Closed):
    """Values under a heading."""


Labels = dict[str, str]
Name = Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")]
Duration = Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m|h)$")]
Text = Annotated[str, Field(min_length=1)]
Quantity = (
    Annotated[int | float, Field(ge=0)] | Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$")]
)
Quantities = dict[str, Quantity]
Object = dict[str, Any]
"""What Kubernetes checks better than a schema of ours would."""


class Toleration(_Closed):
    key: str | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = None
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class Requirement(_Closed):
    key: Text
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] | None = None


class LabelSelector(_Closed):
    match_labels: Labels | None = None
    match_expressions: list[Requirement] | None = None


class Block(_Closed):
    cidr: Text
    except_: list[Text] | None = Field(default=None, alias="except")


class Peer(_Closed):
    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None
    ip_block: Block | None = None


class Resources(_Closed):
    requests: Quantities | None = None
    limits: Quantities | None = None


class Variable(_Closed):
    name: Text
    value: str | None = None
    value_from: Object | None = None


class Image(Section):
    repository: str = Field(pattern=r"^[a-z0-9._/-]+$", description="Repository, below `images.registry`.")
    tag: str = Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$", description="Empty: the chart's appVersion.")
    digest: str = Field(pattern=r"^(sha256:[0-9a-f]{64})?$", description="Wins over the tag.")


class Images(Section):
    registry: str = Field(pattern=r"^[A-Za-z0-9.:/_-]*$")
    operator: Image
    trainer: Image
    server: Image
    gateway: Image
    pull_policy: Literal["Always", "IfNotPresent", "Never"]
    pull_secrets: list[Text]


class Crds(Section):
    install: bool


class Operator(Section):
    replicas: int = Field(ge=0, le=5)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    workers: int = Field(json_schema_extra=as_in_config("workers"))
    repair_seconds: float = Field(json_schema_extra=as_in_config("repair_seconds"))
    namespaces: list[Annotated[Name, Field(min_length=1)]]
    resources: Resources
    priority_class_name: str
    node_selector: Labels
    tolerations: list[Toleration]
    affinity: Object
    topology_spread_keys: list[Text]
    pod_labels: Labels
    pod_annotations: Labels
    failure_table: list[FailureRow]
    carbon_grams_per_kwh: float = Field(alias="carbonGramsPerKWh", ge=0, le=5000)
    extra_env: list[Variable]
    termination_grace_period_seconds: int = Field(ge=1)


class Audit(Section):
    claim_name: Name
    file_bytes: int = Field(json_schema_extra=as_in_config("audit_file_bytes"))
    files_kept: int = Field(json_schema_extra=as_in_config("audit_files_kept"))


class Dcgm(Section):
    enabled: bool
    namespace: Name
    selector: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    seconds: float = Field(ge=5)
    node_selector: Labels
    tolerations: list[Toleration]


class NodeHealth(Section):
    level: Literal["observe", "propose", "act"]
    dcgm: Dcgm


class Telemetry(Section):
    otlp_endpoint: str = Field(json_schema_extra=as_in_config("otlp_endpoint"))
    # --set takes 0.05 for a text.
    sample_ratio: (
        Annotated[float, Field(json_schema_extra=as_in_config("trace_ratio"))]
        | Annotated[str, Field(pattern=r"^(0(\.[0-9]+)?|1(\.0+)?)$")]
    )


class ServiceAccount(Section):
    create: bool
    name: Name
    annotations: Labels


class Rbac(Section):
    create: bool
    aggregate: bool


class AdmissionPolicy(Section):
    create: bool


class Service(Section):
    annotations: Labels


class PriorityClass(Section):
    create: bool
    value: int = Field(ge=1, le=1_000_000_000)


class DefaultQueue(Section):
    create: bool
    name: Annotated[Name, Field(min_length=1)]
    node_selector: Labels
    tolerations: list[Toleration]
    guaranteed: Annotated[Quantities, Field(min_length=1)]
    namespace_selector: LabelSelector


class Switched(Section):
    enabled: bool = Field(description="Whether it is made.")


class Monitor(Switched):
    interval: Duration
    scrape_timeout: Duration
    labels: Labels


class Rules(Switched):
    labels: Labels
    runbooks: Text


class Metrics(Section):
    service_monitor: Monitor
    pod_monitor: Monitor
    prometheus_rule: Rules


class Dashboards(Switched):
    namespace: Name
    labels: Labels
    annotations: Labels


class ApiServer(Section):
    cidrs: list[Text]
    ports: Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(min_length=1)]


class NetworkPolicy(Switched):
    metrics_from: list[Peer]
    endpoint_from: list[Peer]
    api_server: ApiServer


class Values(Section):
    name_override: Name
    fullname_override: Name
    images: Images
    crds: Crds
    operator: Operator
    audit: Audit
    node_health: NodeHealth
    telemetry: Telemetry
    service_account: ServiceAccount
    rbac: Rbac
    admission_policy: AdmissionPolicy
    service: Service
    priority_class: PriorityClass
    default_queue: DefaultQueue
    metrics: Metrics
    dashboards: Dashboards
    network_policy: NetworkPolicy
