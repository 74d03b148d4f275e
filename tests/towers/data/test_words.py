"""The words of a text are the same, whichever way they are found."""

from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.words import words_of


@given(text=st.text(st.characters(max_codepoint=127), max_size=60))
@settings(max_examples=120, deadline=None)
def test_plain_text_beside_any_other_has_the_words_it_has_alone(text: str) -> None:
    assert words_of(f"{text} é") == [*words_of(text), "e"]
