"""The programs that real nodes need, and the Debian packages that have them.

They are installed on a new machine when it first starts such nodes, or ahead of that by `python -m dev.cluster prepare`.
"""

import shutil
from pathlib import Path

from dev.cluster.errors import MissingTool
from dev.cluster.progress import Say
from dev.packages import PackageError, ensure, ensure_programs

PROGRAMS = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "runc": "runc",
}
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def cni_programs() -> Path | None:
    """The folder of the CNI plugins, or None when they are not installed."""
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").exists()), None)


def prepare(say: Say) -> None:
    """Install what is missing, as root on Debian or a relative of it."""
    try:
        ensure_programs(PROGRAMS, progress=say)
        if cni_programs() is None:
            ensure("containernetworking-plugins", progress=say)
    except PackageError as error:
        raise MissingTool(str(error)) from error
    if shutil.which("go") is None:
        raise MissingTool("Go 1.24 or newer is not on the PATH; the local cluster builds Kubernetes with it")
