"""`python -m dev.images build|load|list|clean`: the images of this checkout on this machine."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Live
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dev.images import IMAGES, ImageError, builder, docker, template_store
from dev.images.paths import Progress, images_folder
from dev.images.sources import reference
from dev.packages import PackageError

_CONSOLE = Console(stderr=True)
_SHOWN = 100


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    begun = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Live(*columns, console=_CONSOLE, transient=True) as live:
        task = live.add_task("")

        def progress(line: str) -> None:
            live.reset(task, description=escape(" ".join(line.split())[:_SHOWN]))
            if not line.startswith("STEP "):
                _CONSOLE.print(f"[dim]{time.monotonic() - begun:6.1f} s[/dim]  {escape(line)}", highlight=False)

        try:
            if options.command == "build":
                _build(options.names or list(IMAGES), progress)
            elif options.command == "load":
                _load(options.names or list(IMAGES), options.provider, options.cluster, progress)
            elif options.command == "list":
                _list()
            else:
                builder.clean(progress)
        except (ImageError, PackageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build images with Docker, or with buildah where no daemon answers")
    build.add_argument("names", nargs="*", metavar="NAME", help=f"all of: {', '.join(IMAGES)}")
    load = commands.add_parser("load", help="build images and make them usable in a cluster")
    load.add_argument("names", nargs="*", metavar="NAME")
    load.add_argument("--provider", choices=["kind", "local", "current"], default="local")
    load.add_argument("--cluster", default="trainyard", help="name of the kind cluster (default: %(default)s)")
    commands.add_parser("list", help="what there is and how much disk it takes")
    commands.add_parser("clean", help="remove all of it from the cache")
    return parser


def _build(names: list[str], progress: Progress) -> None:
    for name, image_id in builder.build(names, progress=progress).items():
        print(f"{name} {image_id}")


def _load(names: list[str], provider: str, cluster: str, progress: Progress) -> None:
    if provider == "local":
        print(template_store(progress))
        return
    if provider == "kind":
        if not docker.docker_answers():
            raise ImageError("kind takes images from Docker, and no Docker daemon answers here")
        builder.build(names, progress=progress)
        docker.load_into_kind(names, cluster)
        return
    builder.build(names, progress=progress)
    tool = "docker" if docker.docker_answers() else "buildah"
    print("A cluster elsewhere pulls images from a registry. Push them, and give the chart the same place:")
    for name in names:
        print(f"  {tool} push {reference(name)} REGISTRY/trainyard/{name}:TAG")
    if tool == "buildah":
        print(f"with CONTAINERS_STORAGE_CONF={images_folder()}/buildah/storage.conf")


def _list() -> None:
    table = Table("image", "id", "sources")
    for name, known in sorted(builder.built_images().items()):
        table.add_row(name, known["id"].removeprefix("sha256:")[:12], known["source"][:12])
    Console().print(table)
    folder = images_folder()
    # du counts a file that several stores link to once: what the disk really holds.
    used = subprocess.run(["du", "-sh", str(folder)], capture_output=True, text=True, check=False).stdout.split()
    print(f"{used[0] if used else '?'} in {folder}")


if __name__ == "__main__":
    sys.exit(main())
