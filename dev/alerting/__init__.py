"""Alerts, recording rules and runbooks, each written once and generated from here: `python -m dev.alerting`.

rule.py              what an alert and a recorded series are
of_operator.py ...   the rules, by what they watch; slo.py those about objectives of services
catalogue.py         all of them, in groups
documents.py         the rules file of the chart, and the page of runbooks
"""
