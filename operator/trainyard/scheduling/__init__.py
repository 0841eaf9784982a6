"""Decides who starts where. Pure: a snapshot and a clock in, decisions out; it knows no API server.

`snapshot` says what is known, `checks` why a workload may not start, `quota` and `placement` do the arithmetic, `cycle` puts
them together. The same code runs in the operator, the CLI, the simulator and the tests.
"""
