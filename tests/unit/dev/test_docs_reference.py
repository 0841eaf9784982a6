"""The pages that are generated of kinds and commands."""

import argparse

from dev.docs.__main__ import pages
from dev.docs.commands import commands_page
from dev.docs.kinds import kind_page


def crd(schema: dict[str, object]) -> dict[str, object]:
    version = {
        "name": "v1",
        "schema": {"openAPIV3Schema": {"description": "A thing.", "properties": {"spec": schema}}},
        "additionalPrinterColumns": [{"name": "Age"}],
    }
    names = {"kind": "Thing", "plural": "things", "shortNames": ["th"]}
    return {"spec": {"group": "g", "scope": "Namespaced", "names": names, "versions": [version]}}


def test_a_field_is_told_with_type_bounds_default_and_meaning() -> None:
    count = {"type": "integer", "minimum": 0, "maximum": 9, "default": 3, "description": "How | many."}
    page = kind_page(crd({"type": "object", "properties": {"count": count}, "required": ["name"]}))
    assert "| `count` | integer from 0 to 9 | `3` | How \\| many. |" in page


def test_objects_within_lists_have_a_section_and_rules_are_told() -> None:
    item = {
        "properties": {"name": {"type": "string", "maxLength": 63}},
        "required": ["name"],
        "x-kubernetes-validations": [{"rule": "true", "message": "name is taken"}],
    }
    page = kind_page(crd({"properties": {"items": {"type": "array", "items": item}}}))
    assert "### spec.items[]" in page
    assert "| `name` | string, at most 63 characters | required |  |" in page
    assert "- name is taken" in page


def test_options_are_told_with_value_default_and_meaning() -> None:
    parser = argparse.ArgumentParser(prog="top")
    command = parser.add_subparsers().add_parser("do", help="short", description="Does it.")
    command.add_argument("thing", metavar="THING")
    command.add_argument("-o", "--output", choices=("a", "b"), default="a", help="which (default: %(default)s)")
    page = commands_page(parser)
    assert "## top do\nDoes it." in page
    assert "| `THING` | required |  |" in page
    assert "| `-o a\\|b`, `--output a\\|b` | `a` | which (default: a) |" in page


def test_every_kind_and_command_has_its_place() -> None:
    made = pages()
    assert {"flavor.md", "queue.md", "trainingjob.md", "inferenceservice.md", "commands.md"} == set(made)
    assert "## trainyard audit verify" in made["commands.md"]
    assert "### spec.workers.resources" in made["trainingjob.md"]
