"""A page as mkdocs wants it: links that hold in the site, and lists that Python-Markdown knows for lists."""

import posixpath
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

from dev.docs.outside import place_of

_FENCE = re.compile(r"^\s*(```|~~~)")
_ITEM = re.compile(r"^(\s*)([-*+]|\d+\.) ")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#][^)\s]*)(\))")
_ABROAD = re.compile(r"^[a-z]+:")
_RAW = re.compile(r"(^|\n)\s*(\||[-*+] |\d+\. |```)")
_FETCHES = {"script": "src", "img": "src", "iframe": "src", "link": "href"}


def adapted(text: str, source: str, place: str) -> str:
    """The page for the site. source: its file in the repository; place: where it stands in the site."""
    return "\n".join(_outside_fences(text, lambda line, before: _spaced(_linked(line, source, place), before)))


def unrendered(html: str) -> list[str]:
    """Paragraphs that were meant as a list, a table or a block of code, and did not become one."""
    paragraphs = re.findall(r"<p>(.*?)</p>", html, re.DOTALL)
    return [each for each in paragraphs if _RAW.search(each)]


def fetched(html: str) -> list[str]:
    """Addresses elsewhere that a browser would fetch to show the page."""
    found = _Fetched()
    found.feed(html)
    return found.addresses


class _Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(_FETCHES.get(tag, "")) or ""
        if re.match(r"(https?:)?//", address) and given.get("rel") not in ("canonical", "alternate"):
            self.addresses.append(address)


def _outside_fences(text: str, change: Callable[[str, str], str]) -> Iterator[str]:
    """The lines; those that are no code changed, each seen with the one before. Code stands between empty lines."""
    inside, before = False, ""
    for line in text.splitlines():
        fence = bool(_FENCE.match(line))
        if fence and not inside and before.strip() and not line.startswith(" "):
            yield ""
        yield line if inside or fence else change(line, before)
        inside, before = inside != fence, line
        if fence and not inside:
            yield ""


def _linked(line: str, source: str, place: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        opening, target, closing = match.groups()
        if _ABROAD.match(target):
            return match[0]
        path, _, anchor = target.partition("#")
        there = place_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        if there is None:
            return match[0]  # mkdocs complains of it
        whole = f"{there}#{anchor}" if anchor else there
        return f"{opening}{posixpath.relpath(whole, posixpath.dirname(place) or '.')}{closing}"

    return _LINK.sub(replaced, line)


def _spaced(line: str, before: str) -> str:
    """A list right below a paragraph begins after an empty line."""
    begins = _ITEM.match(line) and before.strip() and not _ITEM.match(before) and not before.startswith((" ", "\t"))
    return f"\n{line}" if begins else line
