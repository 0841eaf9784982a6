"""50,000 jobs in 10 trees of 100 queues: CPU of the scheduler when there are many queues."""

from tests.bench.queue_load import JobKind, Load, report

KINDS = (
    JobKind("small", 35, 1, 0.15, 50, 0.1),
    JobKind("medium", 11, 5, 0.35, 100, 0.3),
    JobKind("large", 4, 20, 0.7, 200, 0.8),
)

if __name__ == "__main__":
    report("core-large", Load(trees=10, queues=100, kinds=KINDS))
