"""The rules of haproxy.cfg by which a request gets a span, and what its line in the log says of it. Pure; spans.py reads that."""

from gateway.config import Settings
from gateway.protocol import GRPC, REST, Protocol

TRACE_FIELDS = {
    "trace": "%[var(txn.trace)]",
    "span": "%[var(txn.span)]",  # the gateway's own
    "parent": "%[var(txn.parent)]",  # the caller's, `-` where it named none
    "sampled": "%[var(txn.sampled)]",
    "at_us": "%[var(txn.at)]",  # when the headers had come, since 1970
    "head_ms": "%TR",
    "grpc_status": "%[var(txn.grpc_status)]",  # of an answer without a message, else `-`
    "path": "%[var(txn.path)]",  # without the query
}
"""Further fields of the line that each request leaves, where requests are traced."""

_TRACEPARENT = "^(?!ff)(?!00.{53}.)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-|$)"
"""W3C's form: version, trace, span, flags, and more in versions to come."""
_PARTS = 1_000_000
_PATH_BYTES = 256


def tracing(settings: Settings, protocol: Protocol = REST) -> str:
    """Rules that give each request a span in its caller's trace, or in a new one, and tell the replica of it."""
    if not settings.otlp_endpoint:
        return ""  # what the caller says is handed on as it is
    given, new_id = "{ var(txn.given) -m bool }", "uuid,regsub(-,,g)"
    drawn = f"{{ rand({_PARTS}) -m int lt {round(settings.trace_ratio * _PARTS)} }}"
    rules = [
        "set-var(txn.at) date(0,us)",
        f"set-var(txn.path) path,bytes(0,{_PATH_BYTES}),regsub('[^!-~]',_,g)",  # one word
        f"set-var(txn.given) bool(true) if {{ req.fhdr(traceparent) -m reg '{_TRACEPARENT}' }}",
        f"set-var(txn.trace) req.fhdr(traceparent),field(2,-) if {given}",
        f"set-var(txn.parent) req.fhdr(traceparent),field(3,-) if {given}",
        f"set-var(txn.sampled) str(01) if {given} {{ req.fhdr(traceparent),field(4,-) -m reg '[13579bdf]$' }}",
        f"set-var(txn.trace) {new_id} if !{given}",
        f"set-var(txn.sampled) str(01) if !{given} {drawn}",
        f"del-header tracestate if !{given}",
        "set-var(txn.sampled) str(00) if !{ var(txn.sampled) -m found }",
        f"set-var(txn.span) {new_id},bytes(0,16)",
        "set-header traceparent 00-%[var(txn.trace)]-%[var(txn.span)]-%[var(txn.sampled)]",
    ]
    lines = [f"http-request {rule}" for rule in rules]
    if protocol is GRPC:
        lines.append("http-after-response set-var(txn.grpc_status) res.hdr(grpc-status)")
    return "\n".join(f"    {line}" for line in lines)
