"""The parts of haproxy.cfg that depend on what the service asks for, as text. Pure.

Whatever may change while HAProxy runs is not written here but looked up in `run.map`, which the sidecar keeps.
"""

from pathlib import Path

from gateway.config import Settings
from gateway.protocol import REST, Protocol
from gateway.tracing import TRACE_FIELDS

SHARE = 10_000
"""Shares of traffic are in basis points."""
COPY_BYTES = 48 * 1024
"""Longest request and longest answer that are copied for a canary: each must fit into a buffer of HAProxy."""

_LOG_FIELDS = {
    "frontend": "%f",
    "backend": "%b",
    "server": "%s",
    "status": "%ST",
    "method": "%HM",
    "term": "%ts",  # two letters, `--` where nothing went wrong
    "total_ms": "%Ta",  # from the request's first byte to the answer's last, waiting included
    "ttfb_ms": "%Tr",  # from the request sent to the answer's headers, -1 where there were none
    "queue_ms": "%Tw",
    "held_ms": "%[var(txn.held_ms)]",  # `-` where the request was not held
    "retries": "%rc",
    "bytes": "%B",
    "client": "%[var(txn.client)]",  # `-` where the service asks for no key
    "let_in": "%[var(txn.let_in)]",  # 1 where the caller was allowed to ask, else `-`
    "grpc": "%[var(txn.grpc)]",  # its status where a replica failed, else `-`
    "beside": "%sc",  # other requests at that server as this one ended
}
"""Of the line that each request leaves at `log.sock`; every value is one word."""

_JWT_ALGORITHMS = "RS256 RS384 RS512 ES256 ES384 ES512 PS256 PS384 PS512"
"""Never one with a shared secret: the public key would be that secret."""
JWT_KEY, JWT_LOADED = "proc.jwt_key", "proc.jwt_loaded"
"""Variables of HAProxy: the path under which it knows the key that is in force; what came of reading the last one."""


def log_format(settings: Settings) -> str:
    """Of the line that each request leaves at `log.sock`."""
    fields = _LOG_FIELDS | (TRACE_FIELDS if settings.otlp_endpoint else {})
    return " ".join(f"{key}={value}" for key, value in fields.items())


def global_options(settings: Settings) -> str:
    """Lines of the global section."""
    lines = []
    if settings.tls_folder is not None:
        # tls.crt and tls.key, as a Secret of type kubernetes.io/tls has them.
        lines += ["ssl-load-extra-files key", "ssl-load-extra-del-ext", "ssl-default-bind-options ssl-min-ver TLSv1.2"]
    if settings.jwt_key is not None:
        lines += [f"set-var {JWT_LOADED} {jwt_load(settings.jwt_key)}", f"set-var {JWT_KEY} str({settings.jwt_key})"]
    return "\n".join(f"    {line}" for line in lines)


def jwt_load(path: Path) -> str:
    """An expression that makes HAProxy read the public key in a file, under whose path it is known from then on.

    Its value is 0, since the token in it is signed by nobody, and -5 if there is no key in the file.
    """
    return f"str(e30.e30.AA),jwt_verify(RS256,{path})"


def retries(settings: Settings) -> str:
    """How often, and after what, a request is sent again. The number counts failed connections too."""
    if settings.retries == 0:
        return "    retries 3\n    retry-on conn-failure empty-response"
    return f"    retries {settings.retries}\n    retry-on conn-failure empty-response 503"


def repeatable(settings: Settings, protocol: Protocol = REST) -> str:
    """Which requests may be sent again after a replica has read them."""
    inference = f" or {protocol.inference}" if settings.retries else ""
    return f"    http-request disable-l7-retry unless {protocol.safe}{inference}"


def place(settings: Settings, bind: str) -> str:
    """Where to listen. HAProxy takes a port alone for one of IPv4."""
    return f"[::]{bind} v4v6" if settings.ipv6 and bind.startswith(":") else bind


def binds(settings: Settings) -> str:
    """Where callers come in."""
    lines = [f"bind {place(settings, settings.traffic_bind)}"]
    if settings.tls_folder is not None:
        lines.append(
            f"bind {place(settings, settings.tls_bind)} ssl crt {settings.tls_folder / 'tls.crt'} alpn h2,http/1.1"
        )
    return "\n".join(f"    {line}" for line in lines)


def grpc_bind(settings: Settings) -> str:
    """Where callers of gRPC come in: with TLS there is no plain port."""
    if settings.tls_folder is None:
        return f"    bind {place(settings, settings.grpc_bind)} proto h2"
    return f"    bind {place(settings, settings.grpc_bind)} ssl crt {settings.tls_folder / 'tls.crt'} alpn h2"


def callers(settings: Settings, protocol: Protocol = REST) -> str:
    """Who may ask, and how often."""
    lines = []
    if settings.tls_folder is not None and protocol is REST:
        lines.append(protocol.refuse(403, "this service is reached over TLS only: use https", "!{ ssl_fc }"))
    if settings.keys_folder is not None:
        lines += _keys(settings, protocol)
    if settings.jwt_key is not None:
        lines += _jwt(settings, protocol)
    if settings.rate_requests:
        source = "var(txn.client)" if settings.keys_folder or settings.jwt_key else "src"
        text = f"more than {settings.rate_requests} requests in {settings.rate_seconds} s; try again later"
        lines += [
            f"track-sc0 {source} table rates",
            protocol.refuse(
                429,
                text,
                f"{{ sc0_gpc0_rate(rates) ge {settings.rate_share} }}",
                f"hdr Retry-After {settings.rate_seconds}",
            ),
            "sc-inc-gpc0(0)",  # only what was let through counts
        ]
    lines.append("set-var(txn.let_in) bool(true)")
    return "\n".join(f"    http-request {line}" for line in lines)


def rates(settings: Settings) -> str:
    """The table that counts the requests of each client."""
    if not settings.rate_requests:
        return ""
    seconds = settings.rate_seconds
    return f"backend rates\n    stick-table type string len 64 size 100k expire {2 * seconds}s store gpc0,gpc0_rate({seconds}s)\n"


def _keys(settings: Settings, protocol: Protocol) -> list[str]:
    """A key is known by its sha256 alone, and goes no further than here."""
    wanted = "expected a key of this service, as Authorization: Bearer KEY or X-API-Key: KEY"
    lookup = f"digest(sha256),hex,lower,map({settings.keys_map})"
    return [
        f"set-var(txn.client) req.hdr(X-API-Key),{lookup} if {{ req.hdr(X-API-Key) -m found }}",
        f"set-var(txn.client) http_auth_bearer,{lookup} if !{{ req.hdr(X-API-Key) -m found }}",
        "del-header Authorization",
        "del-header X-API-Key",
        protocol.refuse(401, wanted, "!{ var(txn.client) -m found }", "hdr WWW-Authenticate Bearer"),
    ]


def _jwt(settings: Settings, protocol: Protocol) -> list[str]:
    refuse, claim = protocol.refuse, "var(txn.token),jwt_payload_query"
    challenge = "hdr WWW-Authenticate Bearer"
    lines = [
        "set-var(txn.token) http_auth_bearer",
        "set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')",
        refuse(
            401,
            "expected Authorization: Bearer with a signed token",
            f"!{{ var(txn.alg) -m str {_JWT_ALGORITHMS} }}",
            challenge,
        ),
        # From the header itself: HAProxy 2.6 mixes up its buffers where token, algorithm and key are all variables.
        refuse(
            401,
            "the signature of the token is not good",
            f"!{{ http_auth_bearer,jwt_verify(txn.alg,{JWT_KEY}) -m int 1 }}",
            challenge,
        ),
        "del-header Authorization",
        "set-var(txn.now) date()",
        f"set-var(txn.exp) {claim}('$.exp','int')",
        f"set-var(txn.nbf) {claim}('$.nbf','int')",
        refuse(
            401,
            "the token has expired, or never does",
            "!{ var(txn.exp) -m found } or { var(txn.exp),sub(txn.now) -m int le 0 }",
            challenge,
        ),
        refuse(401, "the token is not valid yet", "{ var(txn.nbf),sub(txn.now) -m int gt 0 }", challenge),
        f"set-var(txn.client) {claim}('$.sub')",
    ]
    if settings.jwt_issuer:
        lines.append(
            refuse(403, "the token is of another issuer", f"!{{ {claim}('$.iss') -m str {settings.jwt_issuer} }}")
        )
    if settings.jwt_audience:
        # HAProxy reads no list as a whole; a token is for four at most.
        places = ["$.aud", *(f"$.aud[{number}]" for number in range(4))]
        none = " ".join(f"!{{ {claim}('{place}') -m str {settings.jwt_audience} }}" for place in places)
        lines.append(refuse(403, "the token is for another audience", none))
    lines.append(refuse(403, "the token has no subject", "!{ var(txn.client) -m found }"))
    return lines


def _by_load(settings: Settings, protocol: Protocol) -> bool:
    """Whether a request may go to any replica, and so goes where it will be answered soonest."""
    by_prefix = settings.affinity_prefix_bytes and protocol is REST  # a message of gRPC begins with its length
    return not (settings.affinity_header or by_prefix)


def _balance(settings: Settings, protocol: Protocol) -> list[str]:
    if _by_load(settings, protocol):
        # Replicas of different speed: see `choose` in routing.lua.
        return ["balance leastconn", "use-server %[var(txn.server)] if { var(txn.server) -m found }"]
    if settings.affinity_header:
        chosen = f"hdr({settings.affinity_header})"
    else:
        chosen = f"hash req.body,bytes(0,{settings.affinity_prefix_bytes})"
    # No replica gets more than 125 % of the mean, however many callers are alike.
    return [f"balance {chosen}", "hash-type consistent", "hash-balance-factor 125"]


def routing(settings: Settings, protocol: Protocol = REST) -> str:
    """Which backend a request goes to, whether it is held, and when there are too many."""
    run = settings.run_map
    rules = [
        f"set-var(txn.weight) str(weight),map({run},0),add(0)",
        f"set-var(txn.header) str(header),map({run})",
        f"set-var(txn.value) str(value),map({run})",
        "lua.pin txn.header txn.value if { var(txn.header) -m found } { var(txn.value) -m found }",
        f"set-var(txn.draw) rand({SHARE})",
        "set-var(txn.canary_may) bool(true) if { var(txn.pin) -m str canary } or { var(txn.weight) -m int gt 0 }",
        f"set-var(txn.canary_may) bool(true) if {{ str(may),map({run}) -m found }}",
        "set-var(txn.to) str(canary) if { var(txn.pin) -m str canary }",
        "set-var(txn.to) str(canary) if !{ var(txn.pin) -m found } { var(txn.draw),sub(txn.weight) -m int lt 0 }",
    ]
    if settings.affinity_header:
        name = settings.affinity_header
        rules.insert(5, f"set-var(txn.draw) req.hdr({name}),xxh32(7),mod({SHARE}) if {{ req.hdr({name}) -m found }}")
    lines = [f"    http-request {rule}" for rule in rules]
    if settings.affinity_prefix_bytes and protocol is REST:
        lines.append(
            f"    http-request wait-for-body time 1s at-least {settings.affinity_prefix_bytes} if {{ method POST }}"
        )
    if settings.hold_seconds:
        lines += _hold(settings, protocol)
    stable, canary = f"nbsrv({protocol.stable})", f"nbsrv({protocol.canary})"
    lines += [
        "    # Without a server of its own a request goes to the other revision: to the canary only if it gets traffic at all.",
        f"    http-request set-var(txn.to) str(stable) unless {{ var(txn.to) -m str canary }} {{ {canary} gt 0 }}",
        f"    http-request set-var(txn.to) str(canary) if {{ {stable} eq 0 }} {{ {canary} gt 0 }} {{ var(txn.canary_may) -m bool }}",
    ]
    full = f"{settings.queue_limit} requests are waiting, which is the limit; try again later"
    for to, backend in (("stable", protocol.stable), ("canary", protocol.canary)):
        # What was held has waited its turn already.
        condition = f"{{ var(txn.to) -m str {to} }} {{ queue({backend}) ge {settings.queue_limit} }} !{{ var(txn.held_ms) -m found }}"
        lines.append(f"    http-request {protocol.refuse(429, full, condition, _retry_after(settings, 'retry'))}")
    if _by_load(settings, protocol):
        choose = f"lua.choose {protocol.stable} {settings.server_share}"
        lines += [
            f"    http-request set-var(txn.slow) str(slow),map({run})",
            f"    http-request {choose} if {{ var(txn.slow) -m found }} {{ var(txn.to) -m str stable }}",
        ]
    return "\n".join(lines)


def copying(settings: Settings) -> str:
    """Which requests for the stable revision are kept, and handed to the sidecar once they are answered.

    Only what has a length beforehand and fits into a buffer as a whole; then waiting for all of it costs the caller nothing.
    """
    wanted = " ".join(
        [
            "{ method POST }",
            "{ var(txn.to) -m str stable }",
            "{ nbsrv(canary) gt 0 }",
            "{ path_end /infer :predict /completions }",
            "{ req.hdr_cnt(content-length) eq 1 }",
            f"{{ req.body_size le {COPY_BYTES} }}",
            "!{ req.hdr(content-encoding) -m found }",
            f"{{ rand({SHARE}),sub(txn.sample) -m int lt 0 }}",
        ]
    )
    whole = " ".join(
        [
            "{ var(txn.copied) -m bool }",
            "{ status 200 }",
            "{ res.hdr_cnt(content-length) eq 1 }",
            f"{{ res.body_size le {COPY_BYTES} }}",
            "!{ res.hdr(content-encoding) -m found }",
        ]
    )
    body = f"wait-for-body time {settings.response_seconds}s"
    lines = [
        f"http-request set-var(txn.sample) str(shadow),map({settings.run_map},0),add(0)",
        f"http-request set-var(txn.copied) bool(true) if {wanted}",
        f"http-request {body} if {{ var(txn.copied) -m bool }}",
        "http-request lua.keep if { var(txn.copied) -m bool }",
        f"http-response set-var(txn.whole) bool(true) if {whole}",
        f"http-response {body} if {{ var(txn.whole) -m bool }}",
        f"http-response lua.copy {settings.shadow_socket} if {{ var(txn.whole) -m bool }}",
    ]
    return "\n".join(f"    {line}" for line in lines)


def _retry_after(settings: Settings, knob: str) -> str:
    """The header, with the time that the sidecar has measured."""
    return f'hdr Retry-After "%[str({knob}),map({settings.run_map},1)]"'


def _hold(settings: Settings, protocol: Protocol) -> list[str]:
    none = f"{{ nbsrv({protocol.stable}) eq 0 }}"
    alone = f"{none} {{ nbsrv({protocol.canary}) eq 0 }}"
    kept = f"{none} !{{ var(txn.canary_may) -m bool }}"
    hold = f"lua.hold {settings.hold_seconds} {settings.hold_limit} {settings.queue_limit} {protocol.stable} {protocol.canary}"
    full = f"no replica is ready, and {settings.hold_limit} requests wait for one, which is the limit; try again later"
    return [
        "    # Nobody is there to answer: wait for the first replica.",
        f"    http-request {hold} if {alone} or {kept}",
        f"    http-request {protocol.refuse(429, full, '{ var(txn.hold_full) -m found }', _retry_after(settings, 'cold'))}",
    ]


def servers(settings: Settings, protocol: Protocol = REST) -> str:
    """Body of the backends of both revisions. The sidecar adds their servers."""
    check = (
        "http-check send meth GET uri /v2/health/ready ver HTTP/1.1 hdr Host trainyard "
        f"hdr X-Trainyard-Service {settings.service_uid} "
        f'hdr X-Trainyard-Digest "%[srv_name,map({settings.digest_map})]"'
    )
    lines = [
        "log global",
        *_balance(settings, protocol),
        "option httpchk",
        "# The digest is each server's own, looked up by its name, so that old and new replicas of a changing model are both",
        "# checked against what they should hold. No entry sends an empty header, which the replica does not compare.",
        check,
        "http-check expect status 200",
    ]
    return "\n".join(f"    {line}" for line in lines)
