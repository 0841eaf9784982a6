"""What the doctor asks of the operator's account is what the chart grants it."""

from tests.unit.helm.rendering import Object, render
from trainyard.cli.doctor.rights import NEEDED, Right


def granted(rules: list[Object], right: Right) -> bool:
    return any(
        right.group in rule["apiGroups"]
        and right.resource in rule["resources"]
        and right.verb in rule["verbs"]
        and right.name in ("", *rule.get("resourceNames", ()))
        and ("resourceNames" not in rule or right.name)
        for rule in rules
    )


def test_the_chart_grants_whatever_the_doctor_asks_for() -> None:
    rules = {
        kind: [
            rule
            for each in render()
            if each["kind"] == kind and "aggregate" not in str(each["metadata"]["labels"])
            for rule in each["rules"]
        ]
        for kind in ("ClusterRole", "Role")
    }
    missing = [str(each) for each in NEEDED if not granted(rules["ClusterRole" if each.everywhere else "Role"], each)]
    assert missing == []
