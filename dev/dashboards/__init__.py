"""Grafana dashboards, written once here and generated into the chart: `python -m dev.dashboards`.

query.py             expressions of PromQL, built from the definitions of metrics
panel.py             what a panel is: a question, a unit, and the queries that answer it
board.py             what a dashboard is: variables, rows of panels, links to the others
grafana.py           both in Grafana's own JSON
served.py            series of gateways and servers, which the operator's definitions do not have
fleet.py ...         the dashboards, one a module
catalogue.py         all of them, and the files that they become
"""
