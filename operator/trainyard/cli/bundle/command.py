"""`trainyard bundle`: what people type and read."""

import argparse
from pathlib import Path
from typing import Any

from trainyard.cli import access
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.bundle.archive import Bundle
from trainyard.cli.bundle.collecting import collect
from trainyard.cli.bundle.pseudonyms import Pseudonyms
from trainyard.cli.doctor.checks import examine
from trainyard.cli.doctor.gathering import gather
from trainyard.cli.output import write_privately
from trainyard.cluster.errors import Unreachable
from trainyard.runtime.clock import SystemClock


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "bundle",
        help="an archive for whoever helps, without secrets",
        description="Packs what the doctor found, objects, events, the operator's log and metrics into one archive. Secrets are not read; what looks like a credential is taken out. MANIFEST.json in it says what was left out. Look into it before you send it.",
    )
    access.add_cluster_to(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: named by the time)")
    parser.add_argument(
        "--anonymous",
        action="store_true",
        help="replace names of namespaces, nodes, queues, jobs, services and claims by others, and leave out templates and commands",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Collect, and write."""
    server, now = ApiServer.of(options), SystemClock().now()
    seen = gather(server, now, options.system_namespace)
    bundle = Bundle(now, Pseudonyms(seen.objects) if options.anonymous else None)
    try:
        collect(server, seen, examine(seen), bundle)
    except Unreachable as error:
        raise explained(error, server) from None
    content, manifest = bundle.packed(), bundle.manifest
    path = options.output or Path(f"trainyard-bundle-{now:%Y%m%d-%H%M%S}.tar.gz")
    write_privately(path, content)
    print(f"{path}: {len(manifest['files'])} files, {len(content) / 1000:.0f} kB")
    for place, count in manifest["redacted"].items():
        print(f"redacted {place}: {count}")
    for what, why in manifest["leftOut"].items():
        print(f"left out: {what}: {why}")
    print(
        f"names of users' objects are {manifest['names']}{'' if options.anonymous else '; --anonymous replaces them'}"
    )
