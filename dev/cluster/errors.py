"""What can go wrong with a local cluster.

ClusterError
├── SpecError        the request makes no sense: nothing was started
├── MissingTool      a program or package is not there; the message says how to get it
├── BuildError       Go could not build the binaries; the message ends with its output
├── StartError       a server did not come up; the message names its log and shows the end of it
└── CommandError     a command such as kubectl returned non-zero; holds its output
"""


class ClusterError(Exception):
    """The base of everything `dev.cluster` raises on purpose."""


class SpecError(ClusterError):
    """The request makes no sense: nothing was started."""


class MissingTool(ClusterError):  # noqa: N818 - reads as what is the matter
    """A program or package is not there; the message says how to get it."""


class BuildError(ClusterError):
    """Go could not build the binaries; the message ends with its output."""


class StartError(ClusterError):
    """A server did not come up; the message names its log and shows the end of it."""


class CommandError(ClusterError):
    """A command returned non-zero."""

    def __init__(self, argv: list[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(argv[:6])}{' ...' if len(argv) > 6 else ''} ended with {code}: {output.strip()}")  # noqa: PLR2004
        self.code = code
        self.output = output
