"""All dashboards, and the files that they become."""

from pathlib import Path

from dev.dashboards import fleet, goodput, inference_service, operator_health, queues, training_job
from dev.dashboards.board import Board
from dev.dashboards.grafana import to_json

ALL: tuple[Board, ...] = (
    fleet.BOARD,
    goodput.BOARD,
    queues.BOARD,
    training_job.BOARD,
    inference_service.BOARD,
    operator_health.BOARD,
)
FOLDER = Path(__file__).resolve().parents[2] / "helm" / "trainyard" / "files" / "dashboards"


def files() -> dict[str, str]:
    """Name of each file, and what is in it."""
    return {f"{board.uid}.json": to_json(board) for board in ALL}


def write(folder: Path = FOLDER) -> list[str]:
    """Make `folder` hold exactly these files; returns the names of those that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = files()
    there = {path.name: path.read_text() for path in folder.glob("*.json")}
    for name in set(there) - set(wanted):
        (folder / name).unlink()
    changed = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name])
    return changed
