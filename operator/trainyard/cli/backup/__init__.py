"""`trainyard backup` and `trainyard restore`: what a yard consists of, in one file, and back again.

`document` is the file, `taking` fills it from a cluster, `planning` decides what a restore does, `restoring` does it, `command` talks.
"""
