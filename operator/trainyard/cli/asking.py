"""Where answers come from: the cluster itself if the user may read it, else the operator's endpoint."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trainyard.api.meta import Model
from trainyard.cli import access
from trainyard.cli.errors import CliError, NotAllowedError
from trainyard.cli.operator_endpoint import SERVER, Server, server
from trainyard.cluster.credentials import Credentials, credentials
from trainyard.cluster.errors import NoClusterError

_Answer = TypeVar("_Answer", bound=Model)


def add_to(parser: argparse.ArgumentParser, outputs: tuple[str, ...] = ("text", "json")) -> None:
    """Options of every command that asks the operator."""
    access.add_to(parser)
    parser.add_argument(
        "--server", metavar="URL", help=f"ask the operator there instead of reading the cluster yourself (or {SERVER})"
    )
    parser.add_argument("--server-ca", type=Path, metavar="FILE", help="its certificate authority")
    first, *others = outputs
    parser.add_argument(
        "-o", "--output", choices=outputs, default=first, help=f"{first} (default) or {', '.join(others)}"
    )


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody asks something."""

    options: argparse.Namespace
    me: Credentials

    @property
    def namespace(self) -> str:
        return str(self.options.namespace or self.me.namespace)


def ask(
    options: argparse.Namespace,
    by_oneself: Callable[[Question], Awaitable[_Answer]],
    of_operator: Callable[[Question, Server], Awaitable[_Answer]],
) -> _Answer:
    """The answer, from whoever can give it. Raises CliError."""
    return asyncio.run(_ask(options, by_oneself, of_operator))


async def _ask(
    options: argparse.Namespace,
    by_oneself: Callable[[Question], Awaitable[_Answer]],
    of_operator: Callable[[Question, Server], Awaitable[_Answer]],
) -> _Answer:
    try:
        me = await credentials(options.kubeconfig, options.context)
    except NoClusterError as error:
        raise access.no_cluster(error) from None
    question = Question(options, me)
    if options.server is not None and (
        named := server(options.server, options.server_ca, me.token, options.request_timeout)
    ):
        return await of_operator(question, named)
    try:
        return await by_oneself(question)
    except NotAllowedError as error:
        found = server(None, options.server_ca, me.token, options.request_timeout)
        if found is None:
            raise CliError(
                f"you may not read what the scheduler looks at: {error}. Ask the operator instead: --server https://HOST:PORT or {SERVER}"
            ) from None
        return await of_operator(question, found)
