"""Benchmark `serving`: our model server beside LitServe and KServe's own, the same models, load and machine, in turns.

Callers are `wrk` (Debian's package), one thread of C, so that the load costs little; each answers as soon as it can. The peers live in
an environment of their own under the user cache, with torch from ours. Prints a line per model, server and number of clients, for the
CNN the rows per second over those of a bare loop with the same batch sizes (asked for one row at a time in JSON, and for a batch at a time
as raw bytes), and `serving/ratio` last. `make bench NAME=serving`.
"""

import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from server.loading import digest_of
from trainer.models import build_model, load_exported, preprocess

ROOT = Path(__file__).parents[2]
PEERS = Path.home() / ".cache" / "trainyard" / "bench-peers"
LOCK = Path(__file__).parent / "data" / "serving" / "peers.txt"
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"model": "mlp", "parameters": {"inputShape": [1, 8, 8], "outputs": 10, "hidden": [64]}},
    "cnn": {"model": "cnn", "parameters": {"inputShape": [1, 8, 8], "outputs": 10}},
}
CLIENTS = (1, 8, 64)
BATCH, BATCH_CLIENTS = 64, 4
ROUNDS, SECONDS = 3, 4
LEAST_RATIO, LEAST_OF_LOOP = 3.0, 0.95
_STARTUP_SECONDS = 90


def _body() -> bytes:
    data = [round(number / 64, 4) for number in range(64)]
    return json.dumps({"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": data}]}).encode()


@dataclass(frozen=True)
class Ask:
    """One request: a row in JSON, if nothing else is said."""

    rows: int = 1
    body: bytes = field(default_factory=_body)
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Load:
    """What callers saw. p50, p99: milliseconds."""

    rate: float
    p50: float
    p99: float


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is not there: install Debian's package `wrk`")
    python = _peers()
    worst, of_loop = float("inf"), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, architecture in MODELS.items():
            model = Path(folder) / name
            _export(model, architecture)
            seen = _rounds(python, model)
            ratio = _tell(name, seen)
            worst = min(worst, ratio) if name == "mlp" else worst
            if name == "cnn":
                of_loop = _beside_a_loop(model)
    print(
        json.dumps({"name": "serving/ratio", "value": round(worst, 2), "unit": "x the better peer", "bar": LEAST_RATIO})
    )
    assert of_loop >= LEAST_OF_LOOP, f"{of_loop:.2f} of a bare loop on the CNN; the bar is {LEAST_OF_LOOP}"
    assert worst >= LEAST_RATIO, f"{worst:.2f} times the better peer on the MLP; the bar is {LEAST_RATIO}"


def _peers() -> Path:
    """Python of the peers' environment, which is made the first time."""
    python = PEERS / "bin" / "python"
    if not (PEERS / ".made").exists():
        print("installing the peers (a minute, the first time)", file=sys.stderr, flush=True)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, PEERS], check=True)
        install: list[str | Path] = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--require-hashes",
            "-r",
            LOCK,
        ]
        subprocess.run(install, check=True)
        # torch and safetensors are ours; the peers' own packages come first.
        site = next(PEERS.glob("lib/python3*/site-packages"))
        (site / "zz_ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (PEERS / ".made").touch()
    return python


def _export(folder: Path, architecture: dict[str, Any]) -> None:
    """A model with random weights: what it answers costs what a trained one costs."""
    folder.mkdir()
    torch.manual_seed(7)
    module = build_model(architecture["model"], architecture["parameters"])
    save_file(module.state_dict(), folder / "model.safetensors")
    card = {
        "name": "digits",
        "architecture": architecture,
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
        "preprocessing": {"mean": 0.5, "std": 0.25},
        "digest": digest_of(folder / "model.safetensors"),
        "framework": "torch",
    }
    (folder / "card.json").write_text(json.dumps(card))


def _rounds(python: Path, model: Path) -> dict[tuple[str, int], list[Load]]:
    """Each server alone on the machine, one after the other, so many times."""
    seen: dict[tuple[str, int], list[Load]] = {}
    for _ in range(ROUNDS):
        for server in ("trainyard", "litserve", "kserve"):
            with _running(server, python, model) as url:
                _wrk(url, 8, 1)  # warm
                for clients in CLIENTS:
                    seen.setdefault((server, clients), []).append(_wrk(url, clients, SECONDS))
    return seen


def _tell(name: str, seen: dict[tuple[str, int], list[Load]]) -> float:
    """Prints the medians; returns the least of ours over the better peer's, at any number of clients."""
    medians = {
        key: Load(*(statistics.median(getattr(load, field) for load in loads) for field in ("rate", "p50", "p99")))
        for key, loads in seen.items()
    }
    ratios = []
    for clients in CLIENTS:
        ours = medians["trainyard", clients]
        peers = [medians[peer, clients] for peer in ("litserve", "kserve")]
        ratios.append(ours.rate / max(each.rate for each in peers))
        for server in ("trainyard", "litserve", "kserve"):
            load = medians[server, clients]
            line = {"name": f"serving/{name}/{clients}/{server}", "value": round(load.rate, 1), "unit": "requests/s"}
            print(json.dumps(line | {"p50_ms": round(load.p50, 3), "p99_ms": round(load.p99, 3)}), flush=True)
        p99 = ours.p99 / min(each.p99 for each in peers)
        found = {"name": f"serving/{name}/{clients}/ratio", "value": round(ratios[-1], 2), "p99_ratio": round(p99, 2)}
        print(json.dumps(found | {"unit": "x the better peer", "cores": os.cpu_count()}), flush=True)
    return min(ratios)


def _beside_a_loop(model: Path) -> float:
    """The server's rows per second over those of a bare loop through the batch sizes that it used; returns that of whole batches."""
    asks = {"rows": (Ask(), 64), "batches": (_whole_batches(), BATCH_CLIENTS)}
    shares: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(ROUNDS):
        for name, (ask, clients) in asks.items():
            with _running("trainyard", Path(), model) as url:
                _wrk(url, clients, 1, ask)
                before = _batches(url)
                load = _wrk(url, clients, SECONDS, ask)
                sizes = {size: count - before.get(size, 0) for size, count in _batches(url).items()}
            loop = _loop(model, {size: count for size, count in sizes.items() if count > 0})
            shares[name].append(load.rate * ask.rows / loop)
    for name, (ask, clients) in asks.items():
        found = {"name": f"serving/cnn/{name}/of_bare_loop", "value": round(statistics.median(shares[name]), 3)}
        shape = {"rows_a_request": ask.rows, "clients": clients, "unit": "x a bare loop with the same batch sizes"}
        print(json.dumps(found | shape | ({"bar": LEAST_OF_LOOP} if name == "batches" else {})), flush=True)
    return statistics.median(shares["batches"])


def _batches(url: str) -> dict[int, int]:
    with urllib.request.urlopen(url.removesuffix("/infer") + "/stats", timeout=10) as answer:
        stats = json.load(answer)["model_stats"][0]["batch_stats"]
    return {int(each["batch_size"]): int(each["compute_infer"]["count"]) for each in stats}


def _loop(model: Path, sizes: dict[int, int]) -> float:
    """Rows per second of the model alone, called for as long as the server was, with batches of the same sizes in the same proportion."""
    torch.set_num_threads(os.cpu_count() or 1)
    module, card = load_exported(model)
    module.eval()
    batches = {size: torch.rand(size, 1, 8, 8) for size in sizes}
    order = random.Random(7).choices(list(sizes), list(sizes.values()), k=1000)
    rows, began = 0, 0.0
    with torch.inference_mode():
        for size in sizes:
            module(preprocess(card, batches[size]))
        began = time.perf_counter()
        for size in itertools.cycle(order):
            module(preprocess(card, batches[size])).numpy()
            rows += size
            if (elapsed := time.perf_counter() - began) >= SECONDS:
                return rows / elapsed
    raise AssertionError("no batch was computed")


@contextmanager
def _running(server: str, python: Path, model: Path) -> Iterator[str]:
    """A server process of its own, stopped with all its children at the end. Yields where to ask."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = os.pathsep.join(str(ROOT / "images" / each) for each in ("trainer", "server"))
    env = {**os.environ, "PYTHONPATH": paths}
    if server == "trainyard":
        env |= {"TRAINYARD_MODEL_PATH": str(model), "TRAINYARD_HOST": "127.0.0.1", "TRAINYARD_PORT": str(port)}
        env |= {"TRAINYARD_TERMINATION_LOG": str(model / "end"), "TRAINYARD_DRAIN_SECONDS": "0"}
        command, path = [sys.executable, "-m", "server"], "/v2/models/digits/infer"
    else:
        command = [str(python), str(Path(__file__).with_name("serving_peers.py")), server, str(model), str(port)]
        path = "/infer" if server == "litserve" else "/v2/models/digits/infer"
    with (model / f"{server}.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}{path}"
        _until_it_answers(url, process, model / f"{server}.log")
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(url, _body(), {"Content-Type": "application/json"})
        with suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            assert json.load(answer)["outputs"], "no output"
            return
        time.sleep(0.2)
    raise AssertionError(f"{url} did not answer:\n{log.read_text()[-2000:]}")


def _whole_batches() -> Ask:
    """As many rows as the server computes together, there and back as raw bytes."""
    raw = torch.rand(BATCH, 1, 8, 8, generator=torch.Generator().manual_seed(7)).numpy().tobytes()
    tensor = {
        "name": "image",
        "shape": [BATCH, 1, 8, 8],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Ask(BATCH, head + raw, headers)


def _wrk(url: str, clients: int, seconds: int, ask: Ask | None = None) -> Load:
    """Callers without a pause. Raises AssertionError where an answer is not 200."""
    ask = ask or Ask()
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "body", Path(folder) / "ask.lua"
        body.write_bytes(ask.body)
        headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in ask.headers.items())
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = io.open("{body}", "rb"):read("*a")\n{headers}'
            "function done(summary, latency)\n"
            '  io.write(string.format("FOUND %d %d %f %f\\n", summary.requests, summary.duration,'
            " latency:percentile(50), latency:percentile(99)))\nend\n"
        )
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(script), url]
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    assert "Non-2xx" not in text, text
    found = re.search(r"FOUND (\d+) (\d+) ([\d.]+) ([\d.]+)", text)
    assert found, text
    requests, micros, p50, p99 = (float(each) for each in found.groups())
    return Load(requests / micros * 1e6, p50 / 1000, p99 / 1000)


if __name__ == "__main__":
    main()
