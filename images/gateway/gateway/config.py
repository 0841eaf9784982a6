"""Everything the gateway reads from its environment, read once at start. Both containers get the same variables."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DNS_PORT = 8080
DNS_GRPC_PORT = 8001
"""Of replicas that only DNS told us about."""


class ConfigError(ValueError):
    """A variable is missing or wrong; the message names it."""


@dataclass(frozen=True)
class Settings:
    """How one gateway pod works. Durations in seconds."""

    service: str
    service_uid: str
    namespace: str = ""
    pod: str = ""
    folder: Path = Path("/run/lb")
    traffic_bind: str = ":8080"
    grpc: bool = False
    grpc_bind: str = ":8001"
    metrics_bind: str = ":8404"
    endpoint_host: str = ""
    endpoint_port: int = 8081
    sync_url: str = ""
    sync_ca: str = ""
    token_file: Path = Path("/var/run/secrets/trainyard/token")
    members_dns: str = ""
    members_dns_port: int = DNS_PORT
    server_maxconn: int = 64
    gateways: int = 1
    queue_limit: int = 64
    queue_seconds: int = 10
    hold_seconds: int = 0
    hold_limit: int = 1000
    retries: int = 1
    ejection: bool = True
    affinity_header: str = ""
    affinity_prefix_bytes: int = 0
    keys_folder: Path | None = None  # a file for each client, named after it, with its key
    rate_requests: int = 0  # of one client, at all gateways together; 0: no limit
    rate_seconds: int = 60
    tls_folder: Path | None = None  # with tls.crt and tls.key
    tls_bind: str = ":8443"
    jwt_key: Path | None = None
    jwt_issuer: str = ""
    jwt_audience: str = ""
    slo_milliseconds: int = 0  # an answer within so many is a good one; 0: there is no objective
    slo_first_byte: bool = False
    otlp_endpoint: str = ""  # base address of a collector; "": nothing is traced
    trace_ratio: float = 1.0  # part of the requests that is traced where the caller does not say
    response_seconds: int = 300
    max_body_bytes: int = 16 * 1024 * 1024
    threads: int = 2
    ipv6: bool = False  # ports without an address listen on IPv6 as well as on IPv4
    stop_delay_seconds: float = 5.0
    stop_seconds: int = 60

    @property
    def server_share(self) -> int:
        """Concurrent requests this gateway may have at one server: its part of the whole, rounded up."""
        return -(-self.server_maxconn // self.gateways)

    @property
    def rate_share(self) -> int:
        """Requests of one client that this gateway lets through in rate_seconds: its part of the whole, rounded up."""
        return -(-self.rate_requests // self.gateways)

    @property
    def keys_map(self) -> Path:
        return self.folder / "keys.map"

    @property
    def socket(self) -> Path:
        return self.folder / "admin.sock"

    @property
    def log_socket(self) -> Path:
        return self.folder / "log.sock"

    @property
    def shadow_socket(self) -> Path:
        """Where the sidecar takes copies of requests with their answers."""
        return self.folder / "shadow.sock"

    @property
    def canary_socket(self) -> Path:
        """Where HAProxy takes copies for the canary."""
        return self.folder / "canary.sock"

    @property
    def digest_map(self) -> Path:
        return self.folder / "digests.map"

    @property
    def run_map(self) -> Path:
        """What may change at run time: shares of traffic, headers, Retry-After."""
        return self.folder / "run.map"

    @property
    def haproxy_config(self) -> Path:
        return self.folder / "haproxy.cfg"

    @property
    def members_file(self) -> Path:
        return self.folder / "members.json"


def from_environment(env: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the process. Raises ConfigError."""
    dns, dns_port = _dns(env.get("TRAINYARD_MEMBERS_DNS", ""))
    return Settings(
        service=_word(env, "TRAINYARD_SERVICE"),
        service_uid=_word(env, "TRAINYARD_SERVICE_UID"),
        namespace=env.get("TRAINYARD_NAMESPACE", ""),
        pod=env.get("POD_NAME", ""),
        folder=Path(env.get("TRAINYARD_LB_DIR", "/run/lb")),
        traffic_bind=env.get("TRAINYARD_TRAFFIC_BIND", ":8080"),
        grpc=bool(_whole(env, "TRAINYARD_GRPC", 0, 0)),
        grpc_bind=env.get("TRAINYARD_GRPC_BIND", ":8001"),
        metrics_bind=env.get("TRAINYARD_METRICS_BIND", ":8404"),
        endpoint_host=env.get("TRAINYARD_ENDPOINT_HOST", ""),
        endpoint_port=_whole(env, "TRAINYARD_ENDPOINT_PORT", 8081, 0),
        sync_url=env.get("TRAINYARD_SYNC_URL", ""),
        sync_ca=env.get("TRAINYARD_SYNC_CA", ""),
        token_file=Path(env.get("TRAINYARD_TOKEN_FILE", "/var/run/secrets/trainyard/token")),
        members_dns=dns,
        members_dns_port=dns_port,
        server_maxconn=_whole(env, "TRAINYARD_SERVER_MAXCONN", 64),
        gateways=_whole(env, "TRAINYARD_GATEWAYS", 1),
        queue_limit=_whole(env, "TRAINYARD_QUEUE_LIMIT", 64),
        queue_seconds=_whole(env, "TRAINYARD_QUEUE_SECONDS", 10),
        hold_seconds=_whole(env, "TRAINYARD_HOLD_SECONDS", 0, 0),
        hold_limit=_whole(env, "TRAINYARD_HOLD_LIMIT", 1000),
        retries=_whole(env, "TRAINYARD_RETRIES", 1, 0),
        ejection=bool(_whole(env, "TRAINYARD_EJECTION", 1, 0)),
        affinity_header=_part(env, "TRAINYARD_AFFINITY_HEADER", "-"),
        affinity_prefix_bytes=_whole(env, "TRAINYARD_AFFINITY_PREFIX_BYTES", 0, 0),
        keys_folder=_path(env, "TRAINYARD_KEYS_DIR"),
        rate_requests=_whole(env, "TRAINYARD_RATE_REQUESTS", 0, 0),
        rate_seconds=_whole(env, "TRAINYARD_RATE_SECONDS", 60),
        tls_folder=_path(env, "TRAINYARD_TLS_DIR"),
        tls_bind=env.get("TRAINYARD_TLS_BIND", ":8443"),
        jwt_key=_path(env, "TRAINYARD_JWT_KEY"),
        jwt_issuer=_part(env, "TRAINYARD_JWT_ISSUER", "-._~:/@"),
        jwt_audience=_part(env, "TRAINYARD_JWT_AUDIENCE", "-._~:/@"),
        slo_milliseconds=_whole(env, "TRAINYARD_SLO_MS", 0, 0),
        slo_first_byte=bool(_whole(env, "TRAINYARD_SLO_FIRST_BYTE", 0, 0)),
        otlp_endpoint=_address(env, "TRAINYARD_OTLP_ENDPOINT"),
        trace_ratio=_ratio(env, "TRAINYARD_TRACE_RATIO", 1.0),
        response_seconds=_whole(env, "TRAINYARD_RESPONSE_SECONDS", 300),
        max_body_bytes=_whole(env, "TRAINYARD_MAX_BODY_BYTES", 16 * 1024 * 1024),
        threads=_whole(env, "TRAINYARD_THREADS", 2),
        ipv6=_has_ipv6(),
        stop_delay_seconds=_whole(env, "TRAINYARD_STOP_DELAY_SECONDS", 5, 0),
        stop_seconds=_whole(env, "TRAINYARD_STOP_SECONDS", 60),
    )


def _has_ipv6() -> bool:
    """Whether this machine has IPv6 at all: HAProxy does not start with a port of a family that is not there."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _word(env: Mapping[str, str], name: str) -> str:
    """A value that becomes part of HAProxy's configuration: no blanks, quotes or line breaks."""
    value = env.get(name, "")
    if not value or not value.replace("-", "").replace(".", "").isalnum():
        raise ConfigError(f"{name} is {value!r}; expected letters, digits, dashes and dots")
    return value


def _part(env: Mapping[str, str], name: str, signs: str) -> str:
    """A value for HAProxy's configuration that may be left out: letters, digits, and these signs."""
    value = env.get(name, "")
    if any(not (sign.isascii() and sign.isalnum()) and sign not in signs for sign in value):
        raise ConfigError(f"{name} is {value!r}; expected letters, digits and {signs}")
    return value


def _path(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name, "")
    return Path(value) if value else None


def _whole(env: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(f"{name} is {text!r}; expected a whole number of at least {least}")
    return int(text)


def _address(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if text and not text.startswith(("http://", "https://")):
        raise ConfigError(f"{name} is {text!r}; expected http://HOST:PORT or https://HOST:PORT")
    return text


def _ratio(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {text!r}; expected a number from 0 to 1")
    return value


def _dns(text: str) -> tuple[str, int]:
    name, colon, port = text.partition(":")
    if colon and not port.isdecimal():
        raise ConfigError(f"TRAINYARD_MEMBERS_DNS is {text!r}; expected a name, or name:port")
    return name, int(port) if colon else DNS_PORT
