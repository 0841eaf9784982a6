"""Pages of DCGM's exporter become counted errors: each once, repeats too, and what is stuck not at all."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.nodes.looks import NOW, at
from trainyard.nodes.dcgm import SLOWED_EVERY, Reading, counted, parse, remembered
from trainyard.nodes.errors import ErrorKind, GpuError

PAGE = """# HELP DCGM_FI_DEV_XID_ERRORS Value of the last XID error encountered.
# TYPE DCGM_FI_DEV_XID_ERRORS gauge
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a",pci_bus_id="00000000:0A:00.0",device="nvidia0",modelName="NVIDIA H200",hostname="n1"} 31
DCGM_FI_DEV_XID_ERRORS{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA H200",hostname="n1",pod="a-worker-0",namespace="team"} 0
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 61
DCGM_FI_DEV_ECC_SBE_VOL_TOTAL{gpu="0",UUID="GPU-a"} 12
DCGM_FI_DEV_ROW_REMAP_FAILURE{gpu="0",UUID="GPU-a"} 0
DCGM_FI_DEV_THERMAL_VIOLATION{gpu="0",UUID="GPU-a"} 5e+06
DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{gpu="1",UUID="GPU-b"} not-a-number
"""
WINDOW = 'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",UUID="GPU-a",window_size_in_ms="300000",xid="%s"} %d\n'


def after(*pages: str, seconds: float = 60.0) -> dict[tuple[str, str, int | None], int]:
    """Counts of the errors that looks at these pages found, one every so many seconds."""
    known: tuple[GpuError, ...] = ()
    before: dict[str, Reading] = {}
    for page, time in zip(pages, map(at, count(0.0, seconds)), strict=False):
        now = parse(page, time)
        known, before = counted(known, before, now, time, "one"), remembered(before, now)
    return {(each.gpu, each.kind.value, each.code): each.count for each in known}


def gauge(code: int) -> str:
    return f'DCGM_FI_DEV_XID_ERRORS{{gpu="0",UUID="GPU-a"}} {code}\nDCGM_FI_DEV_ECC_SBE_VOL_TOTAL{{gpu="0"}} 0\n'


def total(name: str, value: float) -> str:
    return f'DCGM_FI_DEV_{name}{{gpu="0",UUID="GPU-a"}} {value}\n'


def test_a_page_is_read_by_gpu_and_what_is_not_ours_or_damaged_is_left_out() -> None:
    found = parse(PAGE, NOW)
    assert found["0"].totals == {"DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": 12, "DCGM_FI_DEV_ROW_REMAP_FAILURE": 0}
    assert found["0"].slowed == {"DCGM_FI_DEV_THERMAL_VIOLATION": (5e6, NOW)}
    assert (found["0"].xid, found["1"].xid, found["1"].totals, found["0"].window) == (31, 0, {}, None)


def test_what_was_there_at_the_first_look_counts_for_nothing() -> None:
    assert after(PAGE) == after(PAGE, PAGE) == {}


@pytest.mark.fault(50)
def test_a_gauge_that_is_stuck_is_counted_once_and_another_code_again() -> None:
    assert after(gauge(0), gauge(79), gauge(79), gauge(79)) == {("0", "xid", 79): 1}
    assert after(gauge(0), gauge(31), gauge(79), gauge(31)) == {("0", "xid", 31): 2, ("0", "xid", 79): 1}


@pytest.mark.fault(49)
def test_with_a_window_of_counts_the_same_xid_counts_twice() -> None:
    pages = [gauge(0) + WINDOW % (79, each) for each in (0, 1, 2, 2, 0, 1)]
    assert after(*pages) == {("0", "xid", 79): 3}


@pytest.mark.parametrize(
    ("name", "values", "kind", "count"),
    [
        ("ECC_SBE_VOL_TOTAL", (3, 10, 10, 12), "corrected", 9),
        ("ECC_SBE_VOL_TOTAL", (3, 10, 2), "corrected", 9),  # began anew after a reboot
        ("ECC_DBE_VOL_TOTAL", (0, 1), "uncorrected", 1),
        ("UNCORRECTABLE_REMAPPED_ROWS", (0, 2), "remapped", 2),
        ("ROW_REMAP_FAILURE", (0, 1, 1), "remap-failure", 1),
    ],
)
def test_totals_are_counted_by_how_much_they_rise(name: str, values: tuple[float, ...], kind: str, count: int) -> None:
    assert after(*(total(name, each) for each in values)) == {("0", kind, None): count}


def test_a_gauge_that_is_missing_from_a_page_keeps_the_code_known_before() -> None:
    without = total("ECC_SBE_VOL_TOTAL", 0)
    assert after(gauge(79), without, gauge(79)) == {}
    assert after(without, gauge(79)) == {}, "nobody knows since when"
    assert after(gauge(0), without, gauge(79)) == {("0", "xid", 79): 1}
    assert after(gauge(0), total("POWER_VIOLATION", 0), total("ECC_SBE_VOL_TOTAL", 3)) == {("0", "corrected", None): 3}
    assert after(gauge(79), "", gauge(79)) == {}


@pytest.mark.parametrize("name", ["THERMAL", "POWER"])
@pytest.mark.parametrize(
    ("slowed", "looks", "counts"),
    [
        (0.0, 16, 0),
        (0.05, 16, 0),  # a busy GPU
        (0.1, 5, 0),  # not yet five minutes
        (0.1, 6, 1),
        (1.0, 16, 3),  # no more often than every five minutes
    ],
)
def test_a_gpu_that_is_slowed_down_counts_by_the_share_of_five_minutes(
    name: str, slowed: float, looks: int, counts: int
) -> None:
    pages = [total(f"{name}_VIOLATION", each * slowed * 60e9) for each in range(looks)]
    assert sum(after(*pages).values()) == counts


def test_heat_that_has_long_passed_counts_for_nothing() -> None:
    pages = [total("THERMAL_VIOLATION", 7e12)] * 12
    assert after(*pages, seconds=SLOWED_EVERY.total_seconds()) == {}


def test_a_divided_gpu_counts_once() -> None:
    def parts(value: int) -> str:
        return "".join(f'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{gpu="0",GPU_I_ID="{each}"}} {value}\n' for each in range(7))

    assert after(parts(0), parts(1)) == {("0", "uncorrected", None): 1}


@pytest.mark.fault(53)
def test_an_exporter_that_is_away_for_a_while_loses_nothing_that_totals_tell() -> None:
    before, now = parse(total("ECC_SBE_VOL_TOTAL", 3), NOW), parse(total("ECC_SBE_VOL_TOTAL", 5), at(600))
    assert counted((), before, {}, NOW, "one") == ()
    later = counted((), before, now, at(600), "one")
    assert [(each.kind, each.count, each.last) for each in later] == [(ErrorKind.CORRECTED, 2, at(600))]


@given(st.text(max_size=300), st.sampled_from(["DCGM_FI_DEV_XID_ERRORS{", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{gpu="]))
def test_no_page_breaks_the_parser(text: str, head: str) -> None:
    parse(text, NOW)
    parse(head + text, NOW)
