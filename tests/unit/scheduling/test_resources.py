"""Quantities mean what Kubernetes means by them."""

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from trainyard.api.quantity import LARGEST, whole
from trainyard.scheduling.resources import add, describe, parse, parse_all, show, times

NUMBERS = st.decimals(min_value=0, max_value=10**6, places=3).map(str)
SUFFIXES = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti"])


@given(NUMBERS, SUFFIXES)
def test_a_quantity_means_what_the_client_library_reads(number: str, suffix: str) -> None:
    exact = (Decimal(parse_quantity(f"{number}{suffix}")) * 1000).to_integral_value(ROUND_CEILING)
    assert parse(f"{number}{suffix}") == min(int(exact), LARGEST)


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [("4", 4000), ("500m", 500), ("1.5", 1500), (".5", 500), ("1e3", 10**6), ("1n", 1), ("2Ki", 2048_000), (3, 3000)],
)
def test_quantities(text: str, thousandths: int) -> None:
    assert parse(text) == thousandths


@pytest.mark.parametrize("text", ["", "GPU", "1.2.3", "4 ", "1e5.5", "0x10", "1" * 100])
def test_what_is_no_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse(text)
    assert whole(text) == 0


def test_absurd_quantities_stay_in_64_bits() -> None:
    assert parse("1e999999999") == LARGEST
    assert parse("9E") == LARGEST
    assert parse("-1e999999999") == -LARGEST


@given(st.integers(min_value=0, max_value=LARGEST))
def test_what_is_shown_reads_back(amount: int) -> None:
    assert parse(show(amount)) == amount


def test_amounts_add_up_and_are_described() -> None:
    both = add([{"cpu": 500}, times({"cpu": 250, "nvidia.com/gpu": 1000}, 2)])
    assert both == {"cpu": 1000, "nvidia.com/gpu": 2000}
    assert describe(both) == "cpu=1, nvidia.com/gpu=2"
    assert describe({"pods": 1000}) == "nothing"
    assert parse_all({"memory": "1Gi"}) == {"memory": 1024**3 * 1000}
