"""`trainyard doctor`: what is wrong with an installation.

`gathering` reads a cluster into a frozen `seen.Installation`; the checks are pure functions of it, a file for each part of an
installation, in the tables of `checks`; `command` talks.
"""
