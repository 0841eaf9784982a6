"""The command line: `python -m dev.cluster up | down | list | kubeconfig | residue | prepare`."""

import argparse
import sys

from dev.chart import lint
from dev.cluster.binaries import SERVERS, binaries
from dev.cluster.errors import ClusterError
from dev.cluster.lifecycle import attach, down, up
from dev.cluster.packages import prepare
from dev.cluster.processes import alive
from dev.cluster.progress import to_stderr
from dev.cluster.residue import residue
from dev.cluster.spec import PROVIDERS, ClusterSpec
from dev.cluster.state import all_states, names


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(
        prog="python -m dev.cluster", description="A real Kubernetes for development and tests."
    )
    commands = root.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="bring a cluster up")
    start.add_argument("name")
    start.add_argument("--nodes", type=int, default=0, help="real nodes, each with kubelet and containerd")
    start.add_argument("--gpus", type=int, default=0, help="GPUs that each real node advertises")
    start.add_argument("--kwok", type=int, default=0, help="simulated nodes")
    start.add_argument("--kwok-gpus", type=int, default=8, help="GPUs of each simulated node")
    start.add_argument("--gpu-model", default="H200")
    start.add_argument("--provider", choices=PROVIDERS)
    start.add_argument("--audit", action="store_true", help="have the API server log every request")
    start.add_argument("--no-images", action="store_true", help="real nodes without our images, ready sooner")
    stop = commands.add_parser("down", help="remove a cluster and say what is left behind")
    stop.add_argument("name", nargs="?")
    stop.add_argument("--all", action="store_true")
    for command, text in (
        ("kubeconfig", "print the path of the admin's kubeconfig"),
        ("residue", "print what is left behind"),
    ):
        commands.add_parser(command, help=text).add_argument("name")
    commands.add_parser("list", help="print the clusters of this user")
    commands.add_parser("prepare", help="install missing packages and build the programs")
    return root


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(argv)
    try:
        return _run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "up":
            return _up(options)
        case "down":
            return _down(options)
        case "list":
            return _list()
        case "kubeconfig":
            print(attach(options.name).kubeconfig)
        case "residue":
            return _report(residue(options.name))
        case "prepare":
            prepare(to_stderr)
            lint.install(to_stderr)
            binaries().ensure(*SERVERS, "kubectl", "kwok", "helm", "coredns", "probe")
    return 0


def _up(options: argparse.Namespace) -> int:
    spec = ClusterSpec(
        name=options.name,
        nodes=options.nodes,
        gpus_per_node=options.gpus,
        gpu_model=options.gpu_model,
        kwok_nodes=options.kwok,
        kwok_gpus=options.kwok_gpus,
        provider=options.provider,
        audit=options.audit,
        images=not options.no_images,
    )
    cluster = up(spec)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(options: argparse.Namespace) -> int:
    if bool(options.name) == options.all:
        raise ClusterError("down: give either a name or --all")
    chosen = names() if options.all else [options.name]
    return _report([line for name in chosen for line in down(name)])


def _list() -> int:
    for item in all_states():
        state = item.state
        running = sum(alive(record) for record in state.processes)
        print(f"{state.name}\t{state.provider}\t{len(state.nodes)} real nodes\t{running} processes\t{state.server}")
    return 0


def _report(left: list[str]) -> int:
    for line in left:
        print(line)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
