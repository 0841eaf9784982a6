"""`python -m gateway.render`: write haproxy.cfg and empty maps into the pod's shared folder.

The image's root is read-only and the limits are the service's own, so the file is made at each start.
"""

import sys
from importlib.resources import files
from string import Template

from gateway import sections
from gateway.config import ConfigError, Settings, from_environment
from gateway.credentials import keys
from gateway.protocol import GRPC
from gateway.tracing import tracing


def render(settings: Settings) -> str:
    """HAProxy's configuration."""
    return _template("haproxy.cfg").substitute(
        folder=settings.folder,
        threads=settings.threads,
        stop_seconds=settings.stop_seconds,
        response_seconds=settings.response_seconds,
        queue_seconds=settings.queue_seconds,
        routing_lua=files("gateway").joinpath("routing.lua"),
        copying_lua=files("gateway").joinpath("copying.lua"),
        log_format=sections.log_format(settings),
        tracing=tracing(settings),
        global_options=sections.global_options(settings),
        retries=sections.retries(settings),
        repeatable=sections.repeatable(settings),
        binds=sections.binds(settings),
        callers=sections.callers(settings),
        rates=sections.rates(settings),
        routing=sections.routing(settings),
        copying=sections.copying(settings),
        servers=sections.servers(settings),
        max_body_bytes=settings.max_body_bytes,
        metrics_bind=sections.place(settings, settings.metrics_bind),
        service_uid=settings.service_uid,
        grpc=_grpc(settings) if settings.grpc else "",
    )


def _grpc(settings: Settings) -> str:
    return _template("grpc.cfg").substitute(
        folder=settings.folder,
        response_seconds=settings.response_seconds,
        queue_seconds=settings.queue_seconds,
        log_format=sections.log_format(settings),
        tracing=tracing(settings, GRPC),
        bind=sections.grpc_bind(settings),
        callers=sections.callers(settings, GRPC),
        routing=sections.routing(settings, GRPC),
        repeatable=sections.repeatable(settings, GRPC),
        servers=sections.servers(settings, GRPC),
        service_uid=settings.service_uid,
    )


def _template(name: str) -> Template:
    return Template(files("gateway").joinpath(name).read_text(encoding="utf-8"))


def write(settings: Settings) -> None:
    """Files that HAProxy opens when it starts. The maps are emptied: HAProxy forgot its servers, so must they."""
    settings.haproxy_config.write_text(render(settings))
    settings.digest_map.write_text("")
    settings.run_map.write_text("")
    settings.keys_map.touch(mode=0o600)
    settings.keys_map.write_text("".join(f"{digest} {client}\n" for digest, client in keys(settings).items()))


def main() -> int:
    try:
        write(from_environment())
    except (ConfigError, OSError) as error:
        print(f"cannot write HAProxy's configuration: {error}", file=sys.stderr)
        return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
