"""`spec.gateway` of an InferenceService: the load balancer in front of its replicas."""

from pydantic import ConfigDict, Field

from trainyard.api.meta import Model, Name, rules

_HEADER = r"^[A-Za-z0-9-]+$"
_PART = r"^[A-Za-z0-9._~:/@-]+$"


class GatewayAuth(Model):
    """Who may ask: callers with a key."""

    api_keys_secret: Name = Field(
        description="A Secret of the same namespace with an entry for each client: its name, and its key, which it sends as Authorization: Bearer or X-API-Key. A change is in force without a restart, as soon as kubelet has it, within about a minute."
    )


class GatewayJwt(Model):
    """Who may ask: callers with a signed token."""

    public_key_secret: Name = Field(
        description="A Secret of the same namespace with entry public.pem, the issuer's public key (RSA or EC). A changed key is in force without a restart."
    )
    issuer: str | None = Field(
        default=None, min_length=1, max_length=256, pattern=_PART, description="Claim iss that a token must have."
    )
    audience: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        pattern=_PART,
        description="Claim aud that a token must have, alone or among its first four.",
    )


class ClientRate(Model):
    """So many requests in so many seconds."""

    requests: int = Field(ge=1, le=10_000_000, description="Requests of one client, at all gateways together.")
    seconds: int = Field(default=60, ge=1, le=86_400, description="In so many seconds.")


class RateLimits(Model):
    """How often callers may ask."""

    per_client: ClientRate = Field(
        description="For each key or subject of a token, without either for each address; more are answered with 429 and Retry-After."
    )


class GatewayTls(Model):
    """Encrypted connections."""

    secret_name: Name = Field(
        description="A Secret of type kubernetes.io/tls of the same namespace. A renewed certificate is shown without a restart."
    )


class Affinity(Model):
    """Requests that belong together go to the same replica, as long as that has no more than 125 % of the mean load."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.header) != has(self.prefixBytes)",
                "spec.gateway.affinity takes exactly one of header and prefixBytes",
            ),
        )
    )

    header: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        pattern=_HEADER,
        description="Requests with the same value of this header, such as X-Session-Id; those without it go to the least busy replica in turn.",
    )
    prefix_bytes: int | None = Field(
        default=None,
        ge=1,
        le=32_768,
        description="Requests whose bodies begin with the same so many bytes, for replicas that cache what they read.",
    )


class Gateway(Model):
    """The load balancer in front of the replicas."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.auth) || !has(self.jwt)", "spec.gateway takes at most one of auth and jwt"),
        )
    )

    replicas: int = Field(default=2, ge=1, le=16, description="HAProxy pods.")
    grpc: bool = Field(
        default=False,
        description="Whether the Open Inference Protocol is spoken over gRPC too, at port 8001: with spec.gateway.tls encrypted, else plain HTTP/2. Each request of a connection is balanced for itself.",
    )
    max_concurrency: int = Field(
        default=32,
        ge=1,
        le=65_536,
        description="Requests that a replica works on at a time, over REST and over gRPC each; more wait in the gateway.",
    )
    queue_limit: int = Field(
        default=256,
        ge=1,
        le=1_048_576,
        description="Requests that may wait in one gateway pod; more are answered with 429 and Retry-After.",
    )
    queue_seconds: int = Field(
        default=10,
        ge=1,
        le=3600,
        description="How long a request may wait for a place at a replica; then it is answered with 503.",
    )
    hold_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="How long a request waits while no replica is ready. By default 300 where autoscaling may go to zero, else 0: it is answered with 503 at once.",
    )
    hold_limit: int = Field(
        default=1000,
        ge=1,
        le=3500,
        description="Requests that may wait for a first replica in one gateway pod; more are answered with 429 and Retry-After.",
    )
    retries: int = Field(
        default=1,
        ge=0,
        le=1,
        description="Whether an inference that broke off before a byte of its answer was there is sent to another replica, once. Answers that may be streams (chat and text completions) never are.",
    )
    auth: GatewayAuth | None = Field(default=None, description="Only callers with a key are answered.")
    jwt: GatewayJwt | None = Field(default=None, description="Only callers with a signed token are answered.")
    rate_limits: RateLimits | None = Field(
        default=None, description="How often callers may ask; not limited by default."
    )
    tls: GatewayTls | None = Field(
        default=None, description="Encrypted connections, at port 443; plain ones are then refused with 403."
    )
    affinity: Affinity | None = Field(
        default=None, description="Which requests go to the same replica; by default each goes to the least busy one."
    )
