"""Members from the headless Service's DNS, for a gateway that started while the operator is away.

DNS knows addresses only: no digest, no weight, no drain. The health check still proves the service's uid. As soon as
the operator answers once, DNS is not asked again.
"""

import asyncio
import logging
import socket

from gateway.members import STAND_IN_PREFIX, Member, Membership

_log = logging.getLogger(__name__)


async def resolve(name: str, port: int, grpc_port: int = 0) -> Membership | None:
    """Membership of generation 0 from the addresses of name, None where it does not resolve. grpc_port 0: no gRPC."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        _log.warning("cannot resolve %s: %s", name, error)
        return None
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Membership(0, tuple(stand_in(address, port, grpc_port) for address in addresses))


def stand_in(address: str, port: int, grpc_port: int = 0) -> Member:
    """A member that only its address is known of."""
    name = f"{STAND_IN_PREFIX}{address.replace('.', '-').replace(':', '-')}-{port}"
    return Member(name, address, port, grpc_port=grpc_port)
