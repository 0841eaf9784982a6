"""Runs in an environment of the peers' own: one model behind LitServe or KServe's model server, as their documentation has it.

`python serving_peers.py litserve|kserve FOLDER PORT`. Nothing is logged per request, and one process computes.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import kserve  # type: ignore[import-not-found]
import litserve  # type: ignore[import-not-found]
import torch
from trainer.models import load_exported, preprocess


class Network:
    """The same forward pass for both."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(2)
        self._module, self._card = load_exported(folder)
        self._module.eval()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = self._module(preprocess(self._card, rows))
        return found


class LitApi(litserve.LitAPI):  # type: ignore[misc]
    """LitServe's way, started in a process of its own."""

    def setup(self, device: str) -> None:
        self.network = Network(Path(sys.argv[2]))

    def decode_request(self, request: dict[str, Any]) -> torch.Tensor:
        tensor = request["inputs"][0]
        return torch.tensor(tensor["data"], dtype=torch.float32).reshape(tensor["shape"][1:])

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        return {"outputs": [{"name": "logits", "data": output.tolist()}]}


class Served(kserve.Model):  # type: ignore[misc]
    """KServe's way."""

    def __init__(self, folder: Path) -> None:
        super().__init__("digits")
        self.network = Network(folder)
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        answer = self.network(torch.from_numpy(payload.inputs[0].as_numpy().copy())).numpy()
        output = kserve.InferOutput("logits", list(answer.shape), "FP32")
        output.set_data_from_numpy(answer, binary_data=False)
        return kserve.InferResponse(payload.id or "1", "digits", [output])


def main(server: str, folder: Path, port: int) -> None:
    if server == "litserve":
        api = LitApi(max_batch_size=64, batch_timeout=0.001, api_path="/infer")
        lit = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
        lit.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error", access_log=False)
    else:
        logging.disable(logging.INFO)
        kserve.ModelServer(http_port=port, enable_grpc=False, workers=1, access_log_format=None).start([Served(folder)])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
