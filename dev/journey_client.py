"""Runs in a pod: sends every held-out image to the service and compares each answer with the same model run offline.

Prints one JSON line. Needs what the trainer image has, and nothing else: python, torch for the offline answers, the claim.
"""

import json
import os
import sys
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from trainer.predict import predictions


def ask(url: str, image: Any, shape: list[int]) -> tuple[Any, str]:
    """The label for one image, and the pod that answered."""
    body = {"inputs": [{"name": os.environ["INPUT_NAME"], "shape": [1, *shape], "datatype": "FP32", "data": image}]}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
        outputs = {each["name"]: each for each in answer["outputs"]}
        return outputs["label"]["data"][0], response.headers.get("X-Trainyard-Replica", "")


def flat(value: Any) -> list[Any]:
    return [leaf for each in value for leaf in flat(each)] if isinstance(value, list) else [value]


def main() -> int:
    model, url = Path(os.environ["MODEL"]), os.environ["URL"]
    card = json.loads((model / "card.json").read_text())
    os.environ["INPUT_NAME"] = card["inputs"][0]["name"]
    offline = predictions(model)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: ask(url, flat(image), card["inputs"][0]["shape"][1:]), offline["inputs"]))
    same = sum(str(label) == str(expected) for (label, _), expected in zip(answers, offline["labels"], strict=True))
    result = {
        "served_images": len(answers),
        "served_as_offline": same / len(answers),
        "replicas": Counter(replica for _, replica in answers),
        "accuracy": offline["metrics"]["accuracy"],
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
