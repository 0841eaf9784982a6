"""A port of this machine that nobody else gets until its holder has bound it: for programs that have to be told theirs."""

import socket
import weakref

LOOPBACK = "127.0.0.1"


class HeldPort:
    """Kept for as long as this object lives, also while whoever listens there is away: callers are refused then.

    The holder is bound and never listens, so that a program that sets SO_REUSEADDR, as servers do, can bind the port, and the
    kernel gives it to nobody who asks for any.
    """

    def __init__(self, host: str = LOOPBACK) -> None:
        holder = socket.socket()
        weakref.finalize(self, holder.close)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, 0))
        self.number: int = holder.getsockname()[1]

    def __str__(self) -> str:
        return str(self.number)
