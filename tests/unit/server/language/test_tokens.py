"""Bytes to text as soon as it is certain, and stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.language.tokens import Turn, Writer, conversation, shown, to_tokens


def written(data: bytes, *stops: str, tokens: frozenset[int] = frozenset()) -> tuple[list[str], bool]:
    writer, pieces = Writer(stops, tokens), []
    for token in data:
        pieces.append(writer.write(token))
        if writer.stopped:
            break
    return [*pieces, writer.end()], writer.stopped


@given(st.text(alphabet="abé☃", max_size=30), st.lists(st.text(alphabet="abé", min_size=1, max_size=3), max_size=3))
def test_the_text_ends_before_the_first_stop(text: str, stops: list[str]) -> None:
    pieces, stopped = written(text.encode(), *stops)
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    assert stopped == bool(ends)
    if not ends:
        assert "".join(pieces) == text
        return
    seen = text[: min(ends)]  # the stop that is complete first ends it
    places = [seen.index(stop) for stop in stops if stop in seen]
    assert "".join(pieces) == seen[: min(places)]


def test_what_may_become_a_stop_or_a_character_is_held_back() -> None:
    pieces, _ = written("aé\nUs".encode(), "\nUser:")
    assert pieces == ["a", "", "é", "", "", "", "\nUs"]


def test_a_byte_that_begins_no_character_is_told_as_unknown() -> None:
    assert "".join(written(b"a\xffb\xc3")[0]) == "a�b�"


def test_a_stop_token_ends_the_text_and_is_not_in_it() -> None:
    assert written(b"ab\x00c", tokens=frozenset({0})) == (["a", "b", "", ""], True)


def test_a_conversation_has_a_line_for_each_turn() -> None:
    turns = [Turn("system", "Be brief."), Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Bye")]
    assert conversation(turns) == "System: Be brief.\nUser: Hi\nAssistant: Hello\nUser: Bye\nAssistant:"


@pytest.mark.parametrize(("token", "text"), [(97, "a"), (195, "bytes:\\xc3")])
def test_a_token_is_shown_by_itself(token: int, text: str) -> None:
    assert shown(token) == text
    assert to_tokens("aé") == [97, 195, 169]
