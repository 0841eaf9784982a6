"""Writes what is generated from the rules: `python -m dev.alerting`."""

from dev.alerting.documents import RULES, RUNBOOKS, rules_file, runbooks_page
from tests.drills.catalogue import exercise, summary

RULES.write_text(rules_file())
RUNBOOKS.write_text(runbooks_page(exercise, summary()))
