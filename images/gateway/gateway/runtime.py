"""HAProxy's runtime socket: ask for its state, send it commands.

The only module that knows the text of the commands. Facts about 2.6 that it rests on:
- A dynamic server ignores default-server, so every option stands in `add server`. Without pool-max-conn and
  pool-purge-delay it would keep no connection alive and always count zero in use.
- `del server` is refused while a connection is open, idle ones included; those go within pool-purge-delay, so a
  refusal is normal and the next round tries again.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from gateway.config import Settings
from gateway.observed import Observed, boot, map_entries, parse_observed
from gateway.plan import RuntimeCommand, Verb

_TIMEOUT_SECONDS = 2.0
_OPTIONS = (
    "check inter 500ms fastinter 250ms downinter 500ms rise 1 fall 3 "
    "observe layer4 error-limit 3 on-error mark-down "  # a pod that is gone refuses connections: do not wait for checks
    "pool-max-conn 64 pool-purge-delay 2s"
)
_TEXT = {
    Verb.ADD_DIGEST: "add map {map} {name} {text}",
    Verb.SET_DIGEST: "set map {map} {name} {text}",
    Verb.DROP_DIGEST: "del map {map} {name}",
    Verb.ADD: f"add server {{server}} {{text}} weight 0 maxconn {{number}} {_OPTIONS}",
    Verb.ADD_GRPC: f"add server {{server}} {{text}} proto h2 check-proto h1 weight 0 maxconn {{number}} {_OPTIONS}",
    Verb.ENABLE_HEALTH: "enable health {server}",
    Verb.READY: "set server {server} state ready",
    Verb.DRAIN: "set server {server} state drain",
    Verb.MAINTENANCE: "set server {server} state maint",
    Verb.WEIGHT: "set server {server} weight {number}",
    Verb.MAXCONN: "set maxconn server {server} {number}",
    Verb.DELETE: "del server {server}",
    Verb.ADD_KNOB: "add map {run} {name} {text}",
    Verb.SET_KNOB: "set map {run} {name} {text}",
    Verb.DROP_KNOB: "del map {run} {name}",
}
_OFTEN = (Verb.ADD_KNOB, Verb.SET_KNOB, Verb.DROP_KNOB)
_EXPECTED = ("", "New server registered.", "Server deleted.")
_log = logging.getLogger(__name__)


class RuntimeUnavailable(ConnectionError):  # noqa: N818 - an event of every restart, not a mistake
    """HAProxy does not answer on its socket."""


class Runtime:
    """Client of one gateway's runtime socket."""

    def __init__(self, settings: Settings) -> None:
        self._socket = settings.socket
        self._map, self._run = settings.digest_map, settings.run_map

    async def observe(self) -> Observed:
        """The state now. Raises RuntimeUnavailable."""
        info = await self.ask("show info")
        state = await self.ask("show servers state")
        connections = await self.ask("show servers conn")
        stat = await self.ask("show stat")
        digests = await self.ask(f"show map {self._map}")
        run, counted = await self.ask(f"show map {self._run}"), await self.ask("show held; show copies")
        try:
            return parse_observed(info, state, stat, connections, digests, run, counted)
        except (ValueError, KeyError) as error:
            raise RuntimeUnavailable(f"HAProxy's answer was cut short or is not known: {error!r}") from error

    async def map_entries(self, path: Path) -> dict[str, str]:
        """Entries of a map. Raises RuntimeUnavailable."""
        return map_entries(await self.ask(f"show map {path}"))

    async def boot(self) -> str:
        """Which process answers. Raises RuntimeUnavailable."""
        try:
            return boot(await self.ask("show info"))
        except KeyError as error:
            raise RuntimeUnavailable("HAProxy's answer was cut short") from error

    async def set_variable(self, name: str, expression: str) -> None:
        """Set a variable of the process to what the expression gives. Raises RuntimeUnavailable."""
        await self.ask(f"experimental-mode on; set var {name} expr {expression}")

    async def variable(self, name: str) -> str:
        """A variable of the process, "" where it has no value. Raises RuntimeUnavailable."""
        return (await self.ask(f"get var {name}")).partition("value=<")[2].partition(">")[0]

    async def execute(self, commands: Iterable[RuntimeCommand]) -> None:
        """Send commands in order; one that HAProxy refuses is logged and left to the next round."""
        for command in commands:
            answer = (await self.ask(self._line(command))).strip()
            if answer in _EXPECTED:
                level = logging.DEBUG if command.verb in _OFTEN else logging.INFO
                _log.log(level, "%s %s %s %s", command.verb, command.server, command.text, command.number or "")
            else:
                level = logging.DEBUG if command.verb is Verb.DELETE else logging.WARNING
                _log.log(level, "%s %s refused: %s", command.verb, command.server, answer)

    def _line(self, command: RuntimeCommand) -> str:
        return _TEXT[command.verb].format(
            map=self._map,
            run=self._run,
            name=command.server,
            server=f"{command.backend}/{command.server}",
            text=command.text,
            number=command.number,
        )

    async def ask(self, line: str) -> str:
        """Answer to one command line. Raises RuntimeUnavailable."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    writer.write(line.encode() + b"\n")
                    await writer.drain()
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise RuntimeUnavailable(f"{self._socket}: {error or 'no answer in time'}") from error
