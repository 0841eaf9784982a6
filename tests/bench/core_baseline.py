"""15,000 jobs in 5 trees of 6 queues: CPU of the scheduler, use of quota, and what its CPU costs the jobs."""

from tests.bench.queue_load import JobKind, Load, report

KINDS = (
    JobKind("small", 350, 1, 0.2, 50, 0.1),
    JobKind("medium", 100, 5, 0.5, 100, 0.5),
    JobKind("large", 50, 20, 1.0, 200, 1.2),
)

if __name__ == "__main__":
    report("core-baseline", Load(trees=5, queues=6, kinds=KINDS))
