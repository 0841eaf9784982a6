"""What monitors say of a node, each in its own words, becomes the same signs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.nodes.looks import NOW, Object, at, condition, node
from trainyard.api.names import GPU_ERRORS
from trainyard.api.node_health import Remedy
from trainyard.nodes import errors
from trainyard.nodes.errors import ErrorKind, GpuError
from trainyard.nodes.signs import ALARM_SECONDS, SETTLE_SECONDS, Grade, conditions, signs
from trainyard.nodes.xid import XIDS, XidClass, xid


def of_errors(*found: GpuError) -> Object:
    return node(notes={GPU_ERRORS: errors.write(found)})


@pytest.mark.parametrize(
    ("kind", "status", "is_broken"),
    [
        ("AcceleratedHardwareReady", "False", True),
        ("AcceleratedHardwareReady", "True", False),
        ("AcceleratedHardwareReady", "Unknown", False),
        ("GPUMissing", "True", True),
        ("GPUMissing", "False", False),
        ("GpuDriverHealthy", "True", False),
        ("GpuDriverHealthy", "False", True),
        ("NebiusGPUError", "True", True),
        ("KernelDeadlock", "True", True),
        ("Ready", "False", False),
        ("MemoryPressure", "True", False),
    ],
)
def test_conditions_of_monitors_are_understood(kind: str, status: str, is_broken: bool) -> None:
    said = conditions([condition("Ready"), condition(kind, status)])
    assert [(each.words, each.grade) for each in said] == ([(kind, Grade.BROKEN)] if is_broken else [])


@pytest.mark.parametrize(
    ("said", "grade", "remedy", "code"),
    [
        (condition("AcceleratedHardwareReady", "False", "NvidiaXID79Error"), Grade.BROKEN, Remedy.REBOOT, 79),
        (
            condition("XIDErrors", "True", "XIDError", "NVRM: Xid (PCI:0000:cb:00): 31, pid=7"),
            0,
            Remedy.RESTART_JOB,
            31,
        ),
        (condition("XIDErrors", "True", "", "Xid 94, then Xid 95"), Grade.BROKEN, Remedy.RESET_GPU, 95),
        (condition("XIDErrors", "True", "", "Xid 999"), Grade.DOUBTFUL, Remedy.WATCH, 999),
        (
            condition(
                "GpuXidError", "True", "", "ErrorCode:79 gpu:0 XID error occured Recommended Action=NODE_REBOOT;"
            ),
            Grade.BROKEN,
            Remedy.REBOOT,
            79,
        ),
        (
            condition(
                "GpuMemWatch",
                "True",
                "",
                "ErrorCode:DCGM_FR_VOLATILE_DBE_DETECTED GPU:3 Recommended Action=COMPONENT_RESET;",
            ),
            Grade.BROKEN,
            Remedy.RESET_GPU,
            None,
        ),
        (
            condition("GpuThermalWatch", "True", "", "GPU:0 hot Recommended Action=NONE;"),
            Grade.NOTED,
            Remedy.NONE,
            None,
        ),
        (condition("GpuThermalWatch", "True"), Grade.BROKEN, Remedy.CHECK_COOLING, None),
        (condition("GpuPowerWatch", "True"), Grade.BROKEN, Remedy.CHECK_POWER, None),
        (condition("GpuNvlinkWatch", "True"), Grade.BROKEN, Remedy.CHECK_LINKS, None),
    ],
)
def test_a_code_or_an_action_in_a_condition_decides(said: Object, grade: int, remedy: Remedy, code: int | None) -> None:
    (found,) = signs(node(said), NOW)
    assert (found.grade, found.remedy, found.code) == (grade, remedy, code)


@pytest.mark.parametrize("piece", ["xid ", "xid", "Xid (", "xid:"])
def test_no_message_of_a_node_takes_long_to_be_read(piece: str) -> None:
    began = time.process_time()
    signs(node(condition("XIDErrors", "True", "", piece * 8_000)), NOW)
    assert time.process_time() - began < 5


def test_a_condition_that_comes_again_is_another_event() -> None:
    first, second = (signs(node(condition("GPUMissing", since=each)), NOW)[0].event for each in (-60, -10))
    assert first != second


def test_the_worst_is_told_first() -> None:
    both = node(condition("XIDErrors", message="Xid 31"), condition("GPUMissing"))
    assert [each.grade for each in signs(both, NOW)] == [Grade.BROKEN, Grade.NOTED]


@pytest.mark.parametrize(
    ("allocatable", "capacity", "said"), [(7, 8, True), (0, 8, True), (8, 8, False), (0, 0, False)]
)
def test_gpus_that_are_there_and_not_offered_are_doubtful_once_it_lasts(
    allocatable: int, capacity: int, said: bool
) -> None:
    found = signs(node(allocatable=allocatable, capacity=capacity), NOW)
    assert [(each.grade, each.settles) for each in found] == ([(Grade.DOUBTFUL, SETTLE_SECONDS)] if said else [])


def test_gpus_that_discovery_counted_are_missed_even_if_kubelet_has_forgotten_them() -> None:
    lost = node(allocatable=0, capacity=0)
    lost["metadata"]["labels"]["nvidia.com/gpu.count"] = "8"
    assert [each.words for each in signs(lost, NOW)] == ["offers 0 of 8 GPUs"]


@pytest.mark.fault(49)
def test_an_xid_that_was_counted_twice_is_another_event_than_the_first() -> None:
    first = GpuError("0", ErrorKind.XID, 1, 1.0, at(-60), 79)
    (once,), (twice,) = (signs(of_errors(each), NOW) for each in (first, first.more(1, at(-5), "one")))
    assert (once.grade, once.device) == (Grade.BROKEN, "0")
    assert once.event != twice.event


@pytest.mark.parametrize(
    ("error", "grades"),
    [
        (GpuError("0", ErrorKind.XID, 1, 1.0, at(-60), 31), [Grade.NOTED]),
        (GpuError("0", ErrorKind.XID, 1, 1.0, at(-2 * 86_400), 31), []),
        (GpuError("0", ErrorKind.XID, 1, 1.0, at(-2 * 86_400), 79), [Grade.BROKEN]),
        (GpuError("0", ErrorKind.UNCORRECTED, 1, 1.0, at(-60)), [Grade.BROKEN]),
        (GpuError("0", ErrorKind.REMAP_FAILURE, 1, 1.0, at(-60)), [Grade.BROKEN]),
        (GpuError("0", ErrorKind.CORRECTED, 9, 9.0, at(-60)), []),
        (GpuError("0", ErrorKind.THERMAL, 1, 1.0, at(-60)), [Grade.DOUBTFUL]),
        (GpuError("0", ErrorKind.THERMAL, 1, 1.0, at(-ALARM_SECONDS - 1)), []),
        (GpuError("0", ErrorKind.POWER, 1, 1.0, at(-60)), [Grade.NOTED]),  # every GPU that works hard
        (GpuError("0", ErrorKind.POWER, 1, 1.0, at(-ALARM_SECONDS - 1)), []),
    ],
)
def test_counted_errors_are_judged_by_kind_and_age(error: GpuError, grades: list[Grade]) -> None:
    assert [each.grade for each in signs(of_errors(error), NOW)] == grades


@pytest.mark.parametrize(
    ("counted_in", "running", "is_over"),
    [("one", "one", False), ("one", "two", True), ("one", "", False), ("", "two", False)],
)
def test_a_reboot_ends_an_error_and_a_node_that_was_not_ready_for_a_moment_still_has_it(
    counted_in: str, running: str, is_over: bool
) -> None:
    fatal = GpuError("0", ErrorKind.XID, 1, 1.0, at(-60), 79, counted_in)
    said = node(boot=running, notes={GPU_ERRORS: errors.write([fatal])})
    said["status"]["conditions"] = [condition("Ready", since=-10)]
    assert (signs(said, NOW) == ()) is is_over


@given(st.text(max_size=200))
def test_an_annotation_of_somebody_else_says_nothing(text: str) -> None:
    assert signs(node(notes={GPU_ERRORS: text}), NOW) == ()


def test_what_is_written_of_errors_is_read_again() -> None:
    found = (
        GpuError("0", ErrorKind.XID, 3, 2.5, at(-60), 79, "one"),
        GpuError("1", ErrorKind.CORRECTED, 9, 1.25, at(0)),
    )
    assert errors.read(errors.write(found)) == found


def test_a_recent_count_halves_in_a_day() -> None:
    error = GpuError("0", ErrorKind.CORRECTED, 8, 8.0, NOW)
    assert error.lately(at(86_400)) == 4
    assert error.more(1, at(86_400), "one").recent == 5


@pytest.mark.parametrize(
    ("code", "kind"),
    [(13, "application"), (31, "application"), (94, "application"), (63, "noted"), (92, "noted"), (48, "device"),
     (64, "device"), (74, "device"), (95, "device"), (119, "device"), (145, "device"), (79, "node"), (4711, "unknown")],
)  # fmt: skip
def test_codes_have_the_class_that_nvidias_catalog_gives_them(code: int, kind: str) -> None:
    assert xid(code).kind == kind


def test_only_fatal_codes_ask_for_more_than_patience() -> None:
    mild = {Remedy.RESTART_JOB, Remedy.WATCH, Remedy.CHECK_POWER}
    assert {row.code for row in XIDS.values() if row.fatal != (row.remedy not in mild)} == set()
    assert all(row.code == code and row.words for code, row in XIDS.items())
    assert {row.kind for row in XIDS.values()} == set(XidClass) - {XidClass.UNKNOWN}
