"""The tables that people read: complete, and never wider than the terminal."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console, RenderableType

from retrieval.retriever import Retriever
from retrieval.terminal import profile_view, sample, search_view, similar_view
from tests.retrieval.worlds import items_table, release

LONG = "A title that goes on and on until nobody remembers how it began, or why, or who was in it"


def _printed(view: RenderableType, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(view)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    items = items_table(
        4,
        title=["Heat", "[bold]Brackets[/bold]", LONG, "東京物語"],
        release_year=[1995, None, 2001, 1953],
        genres=[["Crime", "Thriller"], None, ["Drama"] * 9, ["Drama"]],
    )
    return Retriever(release(np.eye(4, dtype=np.float32), items=items, profiles={"[red]ann": [0, 2]}))


def test_history_stands_beside_recommendations(retriever: Retriever) -> None:
    printed = _printed(profile_view(retriever, "[red]ann", retriever.recommend("[red]ann", k=2)))
    lines = printed.splitlines()
    assert lines[0].strip() == "Profile [red]ann"
    assert "watched: the last 2 of 2" in lines[1]
    assert "recommended" in lines[1]
    newest = next(line for line in lines if "A title that" in line)
    assert "[bold]Brackets[/bold]" in newest or "東京物語" in newest
    assert newest.index("A title that") < 50
    heat = next(line for line in lines if "Heat" in line)
    assert "1995" in heat
    assert "Crime, Th" in heat
    assert lines.index(newest) < lines.index(heat)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_none_is_broken(retriever: Retriever, width: int) -> None:
    from rich.cells import cell_len

    views = [
        profile_view(retriever, "[red]ann", retriever.recommend("[red]ann", k=4)),
        similar_view(retriever, "i2", retriever.similar("i2", k=3)),
        search_view(retriever, LONG, retriever.search(LONG, k=3)),
    ]
    for view in views:
        lines = _printed(view, width).splitlines()
        assert max(cell_len(line.rstrip()) for line in lines) <= width
        assert len([line for line in lines if line.strip()]) <= 7


def test_a_degraded_answer_says_why(retriever: Retriever) -> None:
    unknown = _printed(profile_view(retriever, "nobody", retriever.recommend("nobody", k=2)))
    assert "nothing is known of this profile" in unknown
    assert "watched: the last 0 of 0" in unknown
    assert "no title matches" in _printed(search_view(retriever, "zzz", retriever.search("zzz")))


def test_a_search_shows_what_was_understood_and_what_is_suggested(retriever: Retriever) -> None:
    printed = _printed(search_view(retriever, "drama before 1960", retriever.search("drama before 1960")))
    assert '“drama” must be {"genres_any": {"genres": ["Drama"]}}' in printed
    assert '“before 1960” must be {"release_year_between": {"first": null, "last": 1959}}' in printed
    assert "東京物語" in printed
    assert "suggested: Heat" in _printed(search_view(retriever, "hea", retriever.search("hea")))


def test_high_places_and_large_scores_are_whole() -> None:
    num_events = 10_000_000 + np.arange(120)[::-1].astype(np.int64)
    crowd = Retriever(release(np.eye(120, dtype=np.float32), num_events=num_events))
    printed = _printed(search_view(crowd, "zzz", crowd.search("zzz", k=120)))
    assert printed.rstrip().splitlines()[-1].split()[0] == "120"
    assert "10000000" in printed


def test_the_sample_asks_every_kind_of_question_about_what_is_there(retriever: Retriever) -> None:
    assert sample(retriever) == (["[red]ann"], "i0", "Heat")
    items = items_table(9, cast=[None, ["Ann Other", "B"], *[None] * 7])
    profiles = {f"p{n}": [n] if n != 4 else [] for n in range(9)}
    many = Retriever(release(np.eye(9, dtype=np.float32), items=items, profiles=profiles))
    assert sample(many) == (["p0", "p3", "p8"], "i0", "Ann Other")
    assert sample(Retriever(release(np.eye(2, dtype=np.float32)))) == ([], "i0", "Title 0")
