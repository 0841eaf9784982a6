"""Members from the headless Service's DNS, for a gateway that started while the operator is away.

DNS knows addresses only: no digest, no weight, no drain. The health check still proves the service's uid. As soon as
the operator answers once, DNS is not asked again.
"""

import asyncio
import logging
import socket

from gateway.members import STAND_IN_PREFIX, Member, Membership

_log = logging.getLogger(__name__)


async def resolve(name: str, port: int) -> Membership | None:
    """Membership of generation 0 from the addresses of name, None where it does not resolve."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        _log.warning("cannot resolve %s: %s", name, error)
        return None
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Membership(0, tuple(stand_in(address, port) for address in addresses))


def stand_in(address: str, port: int) -> Member:
    """A member that only its address is known of."""
    return Member(f"{STAND_IN_PREFIX}{address.replace('.', '-').replace(':', '-')}-{port}", address, port)
