"""Settings of the operator process, read once from the environment (prefix TRAINYARD_), immutable."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from trainyard.api.failure import FailureRow
from trainyard.api.names import SYSTEM_NAMESPACE
from trainyard.api.node_health import HealthLevel
from trainyard.api.telemetry import OTLP_ENDPOINT

Namespace = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class Config(BaseSettings):
    """How one operator process works."""

    model_config = SettingsConfigDict(env_prefix="TRAINYARD_", frozen=True)

    namespace: str = Field(
        default=SYSTEM_NAMESPACE, description="Namespace of the operator: its Lease and certificate live there."
    )
    namespaces: tuple[Namespace, ...] = Field(
        default=(),
        description="JSON list of the namespaces whose jobs and services are looked after, and in which alone rights are needed; empty: all there are.",
    )
    identity: str = Field(default="", description="Name of this process in the election; by default the host's name.")
    pod: str = Field(
        default="",
        description="Pod of this process, which is labelled while it leads, so that a standby is ready and yet not asked; empty: only a leader is ready.",
    )
    kubeconfig: Path | None = Field(
        default=None, description="Kubeconfig to use outside a cluster; inside, the pod's service account is used."
    )
    host: str = Field(default="", description="Address to listen on; by default all there are, of both families.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    https_port: int = Field(default=8443, ge=0, le=65535, description="Port of the endpoint for trainers and gateways.")
    endpoint: str = Field(
        default="", description="https://HOST:PORT where pods reach the endpoint; empty leaves them on their own."
    )
    trainer_image: str = Field(default="docker.io/trainyard/trainer:dev", description="Image of training workers.")
    server_image: str = Field(default="docker.io/trainyard/server:dev", description="Image of model servers.")
    gateway_image: str = Field(default="docker.io/trainyard/gateway:dev", description="Image of gateways.")
    otlp_endpoint: str = Field(
        default="",
        pattern=OTLP_ENDPOINT,
        description="Collector to which services send traces of requests that name none themselves; empty for no traces.",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Part of the requests that is traced where the caller does not say."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    workers: int = Field(default=32, ge=1, le=1024, description="Objects that are reconciled at a time.")
    repair_seconds: float = Field(
        default=300.0, gt=0, description="Time between complete lists that repair the caches."
    )
    audit_file: Path | None = Field(
        default=None, description="File that every record of the audit trail is appended to, besides the log."
    )
    audit_file_bytes: int = Field(
        default=64 * 1024 * 1024, ge=4096, description="Size from which on the file is renamed and a new one begun."
    )
    audit_files_kept: int = Field(default=8, ge=1, le=1000, description="Renamed files that are kept.")
    carbon_grams_per_kwh: float | None = Field(
        default=None,
        ge=0,
        le=5000,
        description="Grams of CO2 per kWh of the power that the nodes use; without, none are counted.",
    )

    failure_table: tuple[FailureRow, ...] = Field(
        default=(), description="JSON list of rows that come before the built-in table of failure classes."
    )

    health_level: HealthLevel = Field(
        default=HealthLevel.PROPOSE,
        description="How far to go with broken nodes: observe, propose, or act, which needs the right to patch nodes.",
    )

    @field_validator("namespaces")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({each for each in value if value.count(each) > 1}):
            raise ValueError(f"expected each namespace once, got {', '.join(twice)} several times")
        return value

    @field_validator("endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        if value and (urlsplit(value).scheme != "https" or not urlsplit(value).hostname):
            raise ValueError(f"expected https://HOST:PORT, got {value!r}")
        return value.rstrip("/")

    @property
    def endpoint_host(self) -> str:
        """Host name that the serving certificate must carry."""
        return urlsplit(self.endpoint).hostname or "localhost"
