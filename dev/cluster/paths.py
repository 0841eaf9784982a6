"""Where the cluster keeps what: binaries in the user's cache, running clusters in a folder of their own.

Nothing of a running cluster is ever below the repository, so a checkout can be deleted at any time.
Neighbours: `binaries` fills the cache, `state` records what runs.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GO_MODULE = Path(__file__).resolve().parent / "local"


def cache_folder() -> Path:
    """The user's cache for Trainyard, kept between clusters."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "trainyard"


def clusters_folder() -> Path:
    """The folder of running clusters; on the file system of the cache, since image stores are cloned by hard links."""
    uid = os.getuid()
    preferred = Path("/var/tmp/trainyard" if uid == 0 else f"/var/tmp/trainyard-{uid}")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    if preferred.parent.is_dir() and preferred.parent.stat().st_dev == cache.stat().st_dev:
        return preferred
    return cache / "clusters"


def cluster_folder(name: str) -> Path:
    """The folder of one cluster: state, certificates, logs, database, volumes and nodes."""
    return clusters_folder() / name
