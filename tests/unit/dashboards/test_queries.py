"""A real Prometheus answers every query of every dashboard, from pages that operator, gateway and server render themselves."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dev.dashboards.board import Board
from dev.dashboards.catalogue import ALL
from dev.dashboards.panel import Look, Panel, Query
from dev.dashboards.query import Scope
from dev.prometheus import Prometheus, Series, Target, prometheus
from tests.unit.dashboards.sources import SERVED, gateway_pages, operator_pages, router_pages, server_pages
from trainyard.metrics import definitions as d

pytestmark = pytest.mark.slow

_CHOSEN = {
    "$__rate_interval": "1m",
    "$__interval": "1m",
    "$__range": "1h",
    "$cluster": ".*",
    "$namespace": "team",
    "$queue": ".*",
    "$flavor": ".*",
    "$resource": "nvidia.com/gpu",
    "$training_job": "digits",
    "$inference_service": "digits",
}
_SILENT = {"How many series are left out?": "a family must be at its cap"}
"""Panels that have nothing to show in a cluster that is well."""
QUERIES = [
    pytest.param(board, panel, query, id=f"{board.uid}: {panel.title} {query.legend}")
    for board in ALL
    for panel in board.panels
    for query in panel.queries
]


@dataclass
class Pages:
    """What each path answers with; may be changed while it is scraped."""

    now: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """Answers of one moment: a scrape that comes too late afterwards, on a busy machine, takes nothing away."""

    server: Prometheus
    at: float

    def query(self, expression: str) -> list[Series]:
        return self.server.query(expression, self.at)

    def value(self, expression: str) -> float:
        (found,) = self.query(expression)
        return found.value


_LATER = """
    count(trainyard_training_job_step == 160) == 2
    and on () trainyard_gateway_slo_requests_total == 50
    and on () min(count_over_time(up[1m])) >= 4
    and on () count(up == 1) == 5
"""


def await_moment(server: Prometheus) -> Moment:
    """One at which everything is there, as it is later."""
    deadline = time.monotonic() + 60
    while not server.query(_LATER, at := time.time()):
        assert time.monotonic() < deadline, server.targets()
        time.sleep(0.1)
    return Moment(server, at)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moment]:
    """It saw the pages before and after something happened, the operator's of two operators."""
    pages = Pages()
    kinds = {
        "/operator": operator_pages(),
        "/gateway": gateway_pages(tmp_path_factory.mktemp("gateway")),
        "/server": server_pages(),
        "/router": router_pages(),
    }
    pages.now = {path: next(each) for path, each in kinds.items()}
    with _Server(pages) as address:
        targets: dict[str, str | Target | list[Target]] = {
            "operator": Target(address, "/operator"),
            "standby": Target(address, "/operator"),
            "gateway": Target(address, "/gateway", labels=SERVED),
            "server": Target(address, "/server", labels=SERVED),
            "router": Target(address, "/router", labels=SERVED),
        }
        with prometheus(targets, interval=0.5) as server:
            server.wait_for("count(up == 1) == 5")
            pages.now = {path: next(each) for path, each in kinds.items()}
            yield await_moment(server)


class _Server:
    """Serves the pages on loopback until the block ends."""

    def __init__(self, pages: Pages) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(pages.now[self.path])

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def filled(expr: str) -> str:
    """The query as Grafana sends it."""
    for name, value in _CHOSEN.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


@pytest.mark.parametrize(("board", "panel", "query"), QUERIES)
def test_a_query_has_an_answer(scraped: Moment, board: Board, panel: Panel, query: Query) -> None:
    found = scraped.query(filled(query.expr))
    if panel.title in _SILENT:
        assert not found
        return
    assert found
    assert any(math.isfinite(each.value) for each in found), found
    assert len(found) <= 16 or panel.look is Look.HEAT, "a legend that long is not read"


def test_a_variable_offers_the_values_of_its_label(scraped: Moment) -> None:
    for board in ALL:
        for each in board.variables[1:]:
            assert scraped.query(f'count by ({each.label}) ({each.source.name}{{{each.label}!=""}})'), each


def test_what_a_standby_renders_too_counts_once(scraped: Moment) -> None:
    (gpus,) = (panel for panel in ALL[0].panels if panel.title == "How many GPUs are there?")
    assert scraped.value("count(trainyard_build_info)") == 2
    assert scraped.value(filled(gpus.queries[0].expr)) == 28


def test_a_history_is_answered_at_its_time() -> None:
    text = "".join(f'steps{{job="a"}} {each * 10} {1000 + each * 30}\n' for each in range(5)) + "# EOF\n"
    with prometheus({}, history=text) as server:
        (found,) = server.course("steps", 1000, 1120, 60)
        assert found.values == ((1000.0, 0.0), (1060.0, 20.0), (1120.0, 40.0))
        assert [each.value for each in server.query("steps", 1090)] == [30.0]
        assert not server.query("steps", 1400), "it ended"


def test_the_event_with_which_a_counter_begins_is_counted() -> None:
    series = 'trainyard_preemptions_total{queue="a",by_queue="b"}'
    text = f"other 1 1000\n{series} 1 2000\n{series} 2 2030\n{series} 2 2060\n# EOF\n"
    with prometheus({}, history=text) as server:
        expr = filled(Scope().increase(d.PREEMPTIONS, window="10m"))
        assert [each.value for each in server.query(expr, 2060)] == [2.0]
