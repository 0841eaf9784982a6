"""Requests to a service from this machine, through one of its gateway pods: for a test that looks closely at each answer."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.platform import Platform

PLAIN_PORT, TLS_PORT = 8080, 8443
IMAGE = {"name": "input", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [1.0] * 64}
IMAGE_BODY = json.dumps({"inputs": [IMAGE]}).encode()
"""A question to a classifier of digits."""
LOST = (OSError, http.client.HTTPException)
"""What a request ends with that gets no answer."""


@dataclass(frozen=True)
class Answer:
    """What came back. certificate: serial number of the one that was shown, "" without TLS."""

    status: int
    headers: http.client.HTTPMessage
    body: Any
    certificate: str = ""


@dataclass(frozen=True)
class Unfinished:
    """A request that is on its way."""

    connection: http.client.HTTPConnection

    def finish(self) -> Answer:
        self.connection.send(IMAGE_BODY[-1:])
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.headers, _decoded(answer.read()))


class Gateway:
    """One gateway pod of a service. tls: speak to its encrypted port, and believe only whom this believes."""

    def __init__(self, platform: Platform, service: str, tls: ssl.SSLContext | None = None) -> None:
        self.service, self._tls = service, tls
        self._name = f"{service}.{platform.namespace}.svc"
        self.host: str = platform.until(f"a gateway of {service}", lambda: _address(platform, service))

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, seconds: float = 60
    ) -> Answer:
        """One request over a connection of its own. Raises one of LOST without an answer."""
        connection = http.client.HTTPConnection(self._name, timeout=seconds)
        connection.sock = socket.create_connection((self.host, TLS_PORT if self._tls else PLAIN_PORT), seconds)
        shown = ""
        try:
            if self._tls is not None:
                encrypted = self._tls.wrap_socket(connection.sock, server_hostname=self._name)
                connection.sock, shown = encrypted, str((encrypted.getpeercert() or {})["serialNumber"])
            given = {"Content-Type": "application/json", **(headers or {})}
            connection.request("GET" if body is None else "POST", path, body, given)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, _decoded(answer.read()), shown)
        finally:
            connection.close()

    def infer(self, headers: Mapping[str, str] | None = None, body: bytes = IMAGE_BODY, seconds: float = 60) -> Answer:
        return self.ask(f"/v2/models/{self.service}/infer", body, headers, seconds)

    @contextmanager
    def slowly(self) -> Iterator["Unfinished"]:
        """An inference of which the body's last byte is missing, so that a replica is busy with it."""
        connection = http.client.HTTPConnection(self.host, PLAIN_PORT, timeout=60)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(IMAGE_BODY))}
        try:
            connection.request("POST", f"/v2/models/{self.service}/infer", IMAGE_BODY[:-1], headers)
            yield Unfinished(connection)
        finally:
            connection.close()

    def logits(self, headers: Mapping[str, str] | None = None) -> list[float]:
        """What a classifier of digits says to the image: tells models apart."""
        answer = self.infer(headers)
        assert answer.status == 200, answer
        return next(list(each["data"]) for each in answer.body["outputs"] if each["name"] == "logits")


def near(logits: list[float]) -> Any:
    """The same but for the last bits, which depend on who is computed together."""
    return pytest.approx(logits, abs=1e-3)


def _address(platform: Platform, service: str) -> str:
    """Of a gateway pod that is ready and stays."""
    pods = platform.pods(f"trainyard.dev/service={service},trainyard.dev/role=gateway")
    return next((str(pod["status"]["podIP"]) for pod in pods if _stays(pod)), "")


def _stays(pod: Mapping[str, Any]) -> bool:
    ready = {(each["type"], each["status"]) for each in pod["status"].get("conditions", ())}
    return ("Ready", "True") in ready and "deletionTimestamp" not in pod["metadata"]


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


@contextmanager
def meanwhile(ask: Callable[[], Answer], pause: float = 0.05) -> Iterator[list[Answer | str]]:
    """Ask again and again while the block runs; yields what came back, an error's words where nothing did."""
    came: list[Answer | str] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            try:
                came.append(ask())
            except LOST as error:
                came.append(repr(error))
            over.wait(pause)

    asking = threading.Thread(target=run)
    asking.start()
    try:
        yield came
    finally:
        over.set()
        asking.join()


@contextmanager
def waiting(ask: Callable[[], Answer]) -> Iterator[list[Answer]]:
    """Ask once beside the block, which ends when the answer is there."""
    came: list[Answer] = []
    asking = threading.Thread(target=lambda: came.append(ask()))
    asking.start()
    try:
        yield came
    finally:
        asking.join()
