"""Handed to mkdocs by mkdocs.yml: brings in the pages from outside docs/, and complains of what a reader would stumble over."""

import logging
from typing import Any

from mkdocs.structure.files import File

from dev.docs.markdown import adapted, fetched, unrendered
from dev.docs.outside import outside_pages, source_of

_LOG = logging.getLogger("mkdocs.hooks.trainyard")
_OUTSIDE = outside_pages()


def on_files(files: Any, *, config: Any) -> Any:
    for page in _OUTSIDE:
        files.append(File.generated(config, page.place, content=page.text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    place = page.file.src_uri
    return adapted(markdown, source_of(place, _OUTSIDE), place)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    for paragraph in unrendered(html):
        _LOG.warning("%s: a list, table or block of code is not rendered as one: %r", page.file.src_uri, paragraph)
    return html


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    for address in fetched(output):
        _LOG.warning("%s: showing the page would fetch %s", page.file.src_uri, address)
    return output
