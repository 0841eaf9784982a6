"""What the site's builder does to pages. That all links hold is what `make docs` itself checks."""

from pathlib import Path

import pytest

from dev.docs.markdown import adapted, fetched, unrendered
from dev.docs.outside import outside_pages, place_of, source_of


@pytest.mark.parametrize(
    ("source", "place", "link", "becomes"),
    [
        ("README.md", "index.md", "docs/cli.md#why", "cli.md#why"),
        ("README.md", "index.md", "examples", "examples/index.md"),
        ("docs/cli.md", "cli.md", "../examples/simulate", "examples/simulate.md"),
        ("docs/backup.md", "backup.md", "../README.md#on-your-own-cluster", "index.md#on-your-own-cluster"),
        (
            "docs/runbooks.md",
            "runbooks.md",
            "../examples/monitoring/prometheus.yml",
            "examples/monitoring.md#prometheusyml",
        ),
        ("docs/tutorials/a.md", "tutorials/a.md", "../serving.md", "../serving.md"),
        ("images/server/README.md", "images/server.md", "../../docs/serving.md#traces", "../serving.md#traces"),
        ("docs/cli.md", "cli.md", "pictures/a.png", "pictures/a.png"),
        ("docs/cli.md", "cli.md", "https://example.com/a.md", "https://example.com/a.md"),
        ("docs/cli.md", "cli.md", "../Makefile", "../Makefile"),
    ],
)
def test_a_link_leads_to_the_same_thing_in_the_site(source: str, place: str, link: str, becomes: str) -> None:
    assert adapted(f"see [this]({link}).", source, place) == f"see [this]({becomes})."


def test_code_is_left_as_it_is() -> None:
    code = "```\ntext\n- no item\n[a](../README.md)\n```"
    assert adapted(code, "docs/a.md", "a.md").strip() == code


def test_lists_and_code_right_below_a_paragraph_begin_after_an_empty_line() -> None:
    assert adapted("text:\n- one\n- two\n```\ncode\n```\nmore", "docs/a.md", "a.md") == (
        "text:\n\n- one\n- two\n\n```\ncode\n```\n\nmore"
    )


def test_a_list_that_became_text_is_found() -> None:
    assert unrendered("<p>text:\n- one</p><p>fine - really</p>") == ["text:\n- one"]


def test_what_a_browser_would_fetch_from_elsewhere_is_found() -> None:
    page = '<script src="https://cdn.example/a.js"></script><img src="a.png"><a href="https://example.com">x</a>'
    assert fetched(page) == ["https://cdn.example/a.js"]


def test_pages_from_outside_have_a_place_and_every_example_is_shown() -> None:
    pages = outside_pages()
    root = Path(__file__).parents[3]
    assert pages[0].place == "index.md"
    assert pages[0].text == (root / "README.md").read_text()
    texts = "".join(each.text for each in pages)
    manifests = [*root.glob("examples/**/*.yaml"), *root.glob("examples/**/*.yml")]
    assert [path for path in manifests if path.read_text().rstrip() not in texts] == []
    assert source_of("examples/simulate.md", pages) == "examples/simulate/README.md"
    assert place_of("examples/simulate/README.md") == "examples/simulate.md"
