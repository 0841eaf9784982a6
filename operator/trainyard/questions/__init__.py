"""What people ask: why a job waits, what a new one would do, who holds what. Pure: a picture of the cluster in, an answer out.

Below both the CLI, which reads the cluster itself, and the operator's endpoint, so that both give the same answer.
"""
