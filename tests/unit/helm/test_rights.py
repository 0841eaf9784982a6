"""What the doctor asks of the operator's account is what the chart grants it."""

import pytest

from tests.unit.helm.rendering import Object, render
from trainyard.cli.doctor.rights import Question, Where, questions

SYSTEM = "trainyard-system"
CONFINED = "operator.namespaces={research,products}"


def granted(rules: list[Object], question: Question) -> bool:
    right = question.right
    return any(
        right.group in rule["apiGroups"]
        and right.resource in rule["resources"]
        and right.verb in rule["verbs"]
        and question.name in ("", *rule.get("resourceNames", ()))
        and ("resourceNames" not in rule or question.name)
        for rule in rules
    )


def rules(namespace: str, *settings: str) -> list[Object]:
    """Of the operator's roles in a namespace, or of its ClusterRole without one."""
    kind = "Role" if namespace else "ClusterRole"
    return [
        rule
        for each in render(*settings)
        if each["kind"] == kind
        and each["metadata"].get("namespace", "") == namespace
        and "aggregate" not in str(each["metadata"]["labels"])
        for rule in each["rules"]
    ]


@pytest.mark.parametrize(
    ("settings", "served"), [((), ()), ((CONFINED,), ("research", "products"))], ids=["all", "confined"]
)
def test_the_chart_grants_whatever_the_doctor_asks_for(settings: tuple[str, ...], served: tuple[str, ...]) -> None:
    asked = list(questions(SYSTEM, served))
    assert {each.right.where for each in asked} == set(Where)
    assert [str(each) for each in asked if not granted(rules(each.namespace, *settings), each)] == []


def test_a_question_says_where_a_right_is_missing() -> None:
    told = {str(each) for each in questions(SYSTEM, ("research",))}
    assert {"create pods in research", "list namespaces 'research'", "patch pods", "list nodes"} <= told
    assert {"create pods", "list namespaces"} <= {str(each) for each in questions(SYSTEM, ())}
