"""The software bills of materials: valid, complete, and the same each time."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dev.images import IMAGES
from dev.sbom.__main__ import bills
from dev.sbom.bill import bill
from dev.sbom.contents import Contents, Locked, contents, locked

ROOT = Path(__file__).parents[3]
HASH = "a" * 64
LOCKS = {
    "operator": ("operator",),
    "trainer": ("torch", "trainer"),
    "server": ("torch", "server"),
    "gateway": ("gateway",),
}


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return bills()


def components(text: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(text)["components"]}


def test_every_image_has_one(made: dict[str, str]) -> None:
    assert set(made) == set(IMAGES) == set(LOCKS)


@pytest.mark.parametrize("image", LOCKS)
def test_it_is_valid(made: dict[str, str], image: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made[image]) is None


@pytest.mark.parametrize(("image", "lock"), [(image, lock) for image, locks in LOCKS.items() for lock in locks])
def test_each_locked_package_is_in_it_with_all_its_hashes(made: dict[str, str], image: str, lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    # Read by other means than the product's.
    blocks = re.split(r"\n(?=\S)", text.strip())
    there = components(made[image])
    for block in blocks:
        name, version = re.match(r"([^=\s\[]+)(?:\[.*?\])?==(\S+)", block).groups()  # type: ignore[union-attr]
        hashes = {each["content"] for each in there[name]["hashes"]}
        assert there[name]["version"] == version
        assert there[name]["purl"] == f"pkg:pypi/{name.lower()}@{version.replace('+', '%2B').replace('!', '%21')}"
        assert hashes == set(re.findall(r"sha256:(\w+)", block))


def test_packages_say_their_licence(made: dict[str, str]) -> None:
    there = components(made["operator"])
    assert there["aiohttp"]["licenses"][0]["expression"] == "Apache-2.0 AND MIT"
    assert [name for name, each in there.items() if "hashes" in each and not each.get("licenses")] == []


def test_base_and_debian_packages_are_told() -> None:
    gateway = contents("gateway", ROOT)
    assert gateway.base == ("python", "3.11-slim-bookworm")
    assert gateway.debian == ("haproxy",)


def test_the_same_contents_give_the_same_bytes_and_others_another_serial_number() -> None:
    some = Contents("x", ("base", "1"), (), (Locked("a", "1", (HASH,)),))
    other = Contents("x", ("base", "1"), (), (Locked("a", "2", (HASH,)),))
    first, second = bill(some, "0", lambda _: ""), bill(other, "0", lambda _: "")
    assert first == bill(some, "0", lambda _: "")
    assert json.loads(first)["serialNumber"] != json.loads(second)["serialNumber"]


def test_a_package_without_a_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="no hash is locked for b"):
        locked(f"a==1 \\\n    --hash=sha256:{HASH}\nb==2\n")
