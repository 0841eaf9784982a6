"""`python -m gateway.render`: write haproxy.cfg and an empty digest map into the pod's shared folder.

The image's root is read-only and the limits are the service's own, so the file is made at each start.
"""

import sys
from importlib.resources import files
from string import Template

from gateway.config import ConfigError, Settings, from_environment


def render(settings: Settings) -> str:
    """HAProxy's configuration."""
    template = Template(files("gateway").joinpath("haproxy.cfg").read_text(encoding="utf-8"))
    return template.substitute(
        folder=settings.folder,
        threads=settings.threads,
        stop_seconds=settings.stop_seconds,
        response_seconds=settings.response_seconds,
        queue_seconds=settings.queue_seconds,
        queue_limit=settings.queue_limit,
        max_body_bytes=settings.max_body_bytes,
        traffic_bind=settings.traffic_bind,
        metrics_bind=settings.metrics_bind,
        service_uid=settings.service_uid,
    )


def write(settings: Settings) -> None:
    """Files that HAProxy opens when it starts. The map is emptied: HAProxy forgot its servers, so must the map."""
    settings.haproxy_config.write_text(render(settings))
    settings.digest_map.write_text("")


def main() -> int:
    try:
        write(from_environment())
    except (ConfigError, OSError) as error:
        print(f"cannot write HAProxy's configuration: {error}", file=sys.stderr)
        return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
