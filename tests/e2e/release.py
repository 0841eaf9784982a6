"""How Trainyard is installed for these tests: for the whole cluster, or (`--namespaced`) confined to their namespaces.

A confined operator has a Role in each namespace that it is installed for and no other right there, so the namespaces of a module's
tests are made before it is installed, and handed out one by one. Those that a test is done with are deleted under the operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dev.cluster import Cluster
from dev.demo import install
from tests.e2e.platform import Platform, a_name, namespace, new_platform


class Release:
    """The chart on one cluster, and the namespaces in which tests work."""

    def __init__(self, cluster: Cluster, *, confined: bool) -> None:
        self._cluster, self._confined = cluster, confined
        self._spare: list[str] = []
        """Made for tests to come."""
        self._used: list[str] = []

    def install(self, namespaces: int = 0) -> None:
        """Install or upgrade it, with so many namespaces to spare if it is confined."""
        if not self._confined:
            install(self._cluster)
            return
        new = [a_name() for _ in range(namespaces - len(self._spare))]
        if new:
            Platform(self._cluster, "default").apply(*map(namespace, new))
        self._spare += new
        install(self._cluster, f"operator.namespaces={{{','.join((*self._used, *self._spare))}}}")

    def new_platform(self) -> Platform:
        """A namespace of its own, for which the operator is installed, or will be with the next installation."""
        made = new_platform(self._cluster, self._spare.pop() if self._spare else "")
        self._used.append(made.namespace)
        return made

    @contextmanager
    def namespace_of_its_own(self) -> Iterator[Platform]:
        """A new platform; what was made in it goes at the end, so that others find the GPUs free."""
        made = self.new_platform()
        yield made
        self._cluster.kubectl("delete", "tyj,tyi", "--all", "-n", made.namespace, "--wait=true", "--timeout=90s")
        self._used.remove(made.namespace)
        self._cluster.kubectl("delete", "namespace", made.namespace, "--wait=false")
