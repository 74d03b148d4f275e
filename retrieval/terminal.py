"""Rankings for people: tables of titles, years and genres that fit a terminal of 100 columns."""

import json
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from retrieval.eligibility.plain import to_plain
from retrieval.explain import Explanation, Filter
from retrieval.ranking import Ranking
from retrieval.retriever import Retriever
from retrieval.stages import StageTimes
from towers.recommender import Degraded

_WHY = {
    Degraded.UNKNOWN_PROFILE: "nothing is known of this profile: answered from popularity",
    Degraded.EMPTY_HISTORY: "no title of the catalogue in the history: answered as newcomers are",
    Degraded.NOT_PRECOMPUTED: "no list was made for this history: answered from those of its titles",
    Degraded.NO_MATCH: "no title matches: answered as if nothing had been searched for",
    Degraded.NOT_AVAILABLE: "not in your territory at this time: answered with similar titles",
    Degraded.NOT_PERSONALISED: "personalisation is off: answered as newcomers are",
    Degraded.BELOW_FLOOR: "fewer new or local titles than the minimum asked for",
}

# How many of the most popular titles are looked through for one whose cast is known.
_POPULAR = 50
# Suggestions that are shown beside a search.
_OFFERED = 3


def sample(retriever: Retriever) -> tuple[list[str], str | None, str | None]:
    """Questions that show a release: up to three profiles with a history, a popular title, and a search.

    The profiles are spread over all of them; the search is for the first of the cast of the most popular
    title that has one, else for that title's name.
    """
    watched = [profile_id for profile_id in retriever.profile_ids if retriever.history(profile_id)]
    profiles = [watched[place * (len(watched) - 1) // 2] for place in range(3)] if watched else []
    popular = [retriever.items[item_id] for item_id in retriever.recommend(k=_POPULAR).item_id]
    similar = popular[0].item_id if popular else None
    search = next(
        (item.cast[0] for item in popular if item.cast), popular[0].title or None if popular else None
    )
    return list(dict.fromkeys(profiles)), similar, search


def profile_view(
    retriever: Retriever, profile_id: str, ranking: Ranking, times: StageTimes | None = None
) -> RenderableType:
    """What a profile watched last, newest first, beside what is recommended to it, and how long that took."""
    known = ranking.degraded is not Degraded.UNKNOWN_PROFILE
    history = retriever.history(profile_id) if known else ()
    newest = history[::-1][: max(len(ranking), 1)]
    beside = Table.grid(padding=(0, 2), expand=True)
    beside.add_column(ratio=1)
    beside.add_column(ratio=1)
    beside.add_row(
        _titles(retriever, f"watched: the last {len(newest)} of {len(history)}", newest),
        _titles(retriever, "recommended", ranking.item_id),
    )
    took = () if times is None else (_took(times),)
    return _view(f"Profile {profile_id}", ranking, Group(beside, *took))


def similar_view(retriever: Retriever, item_id: str, ranking: Ranking) -> RenderableType:
    """The titles that are similar to one."""
    item = retriever.items[item_id]
    year = "" if item.release_year is None else f" ({item.release_year})"
    return _view(
        f"Similar to {item.title}{year}",
        ranking,
        _titles(retriever, "", ranking.item_id, ranking.score.tolist()),
    )


def search_view(
    retriever: Retriever, text: str, ranking: Ranking, profile_id: str | None = None
) -> RenderableType:
    """The titles that a profile found by a text, what it was taken to say, and what it may become."""
    said = []
    for one in ranking.understood:
        how = "must be" if one.required else "is rather"
        said.append(f"“{' '.join(one.words)}” {how} {json.dumps(to_plain(one.rule))}")
    suggested = retriever.suggest(text, _OFFERED, profile_id=profile_id)
    offered = [retriever.items[item_id].title for item_id in suggested]
    notes = [*said, *([f"suggested: {' · '.join(offered)}"] if offered else [])]
    return _view(
        f"Search for “{text}”",
        ranking,
        _titles(retriever, "", ranking.item_id, ranking.score.tolist()),
        notes,
    )


def explanation_view(retriever: Retriever, explained: Explanation) -> RenderableType:
    """Why a title has its score: causes, rules and facts with their numbers, and the same in words."""
    causes = _numbers("because it was watched", "lifts the score by")
    for cause in explained.causes:
        causes.add_row(Text(_named(retriever, cause.item_id)), f"{cause.drop:+.4f}")
    rules = _numbers("what is shown", "titles kept out", "this one")
    for one in explained.filters:
        rules.add_row(Text(_kept_out(one)), f"{one.num_titles:,}", "passes" if one.passes else "is kept out")
    tables: list[RenderableType] = [causes, rules] if explained.causes else [rules]
    if explained.metadata is not None:
        facts = _numbers("of its own facts", "adds to the score")
        for each in explained.metadata.shares:
            facts.add_row(each.column, f"{each.share:+.4f}")
        tables.append(facts)
    heading = Text(
        f"Why {_named(retriever, explained.item_id)}", style="bold", overflow="ellipsis", no_wrap=True
    )
    lines = [Text(line) for line in explanation_lines(retriever, explained)]
    return Group(heading, *lines, Text(""), *tables, Text(""))


def explanation_lines(retriever: Retriever, explained: Explanation) -> list[str]:
    """An explanation in plain sentences."""
    said = []
    if explained.degraded is not None:
        said.append(f"{_WHY[explained.degraded].capitalize()}.")
    names = [_named(retriever, cause.item_id) for cause in explained.causes]
    if names:
        said.append(f"Because you watched {_listed(names)}.")
        left = explained.score - explained.together
        said.append(
            f"Its score is {explained.score:.3f}, and without {'them' if names[1:] else 'it'} {left:.3f}."
        )
        apart = sum(cause.drop for cause in explained.causes)
        if names[1:]:
            said.append(
                f"Together they count {explained.together:.3f}, not the sum of what each counts by itself "
                f"({apart:.3f})."
            )
    elif explained.num_watched:
        said.append("Nothing that you watched lifts it by itself.")
    if explained.num_watched and explained.degraded is None:
        said.append(f"To who watched nothing it would have {explained.without_history:.3f}.")
    said += [f"It is not shown: {_kept_out(one)}." for one in explained.filters if not one.passes]
    return said


_FILTERS = {
    "excluded_genres": "no genre that you excluded",
    "excluded_people": "nobody that you excluded",
    "excluded_items": "no title that you excluded",
    "less_like": "nothing like the titles of which you want less",
    "max_age": "nothing above your limit of age",
    "kids": "only what is for kids",
    "watched": "nothing that you watched already",
}


def _kept_out(one: Filter) -> str:
    return _FILTERS.get(one.name) or f"only what the service's rule lets: {one.rule}"


def _named(retriever: Retriever, item_id: str) -> str:
    item = retriever.items[item_id]
    return item.title if item.release_year is None else f"{item.title} ({item.release_year})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _numbers(*names: str) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(names):
        shown.add_column(name, justify="left" if place == 0 else "right")
    return shown


def _view(heading: str, ranking: Ranking, body: RenderableType, notes: Sequence[str] = ()) -> Group:
    # Text, not markup: titles and searches may hold brackets, which are no styles.
    lines: list[RenderableType] = [Text(heading, style="bold", overflow="ellipsis", no_wrap=True)]
    if ranking.degraded is not None:
        lines.append(Text(_WHY[ranking.degraded], style="yellow"))
    lines += [Text(note, style="dim", overflow="ellipsis", no_wrap=True) for note in notes]
    return Group(*lines, body, Text(""))


def _took(times: StageTimes) -> Text:
    stages = ", ".join(f"{stage} {1e3 * seconds:.2f}" for stage, seconds in times.seconds.items())
    return Text(f"ms: {stages}", style="dim", overflow="ellipsis", no_wrap=True)


def _titles(
    retriever: Retriever, caption: str, item_ids: Iterable[str], scores: Sequence[float] | None = None
) -> Table:
    shown = Table(
        title=escape(caption) or None,
        title_justify="left",
        title_style="italic",
        expand=True,
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    shown_ids = list(item_ids)
    digits = len(str(len(shown_ids)))
    written = [] if scores is None else [_score(score) for score in scores]
    shown.add_column("#", justify="right", style="dim", width=max(2, digits))
    shown.add_column("title", ratio=2, no_wrap=True, overflow="ellipsis")
    shown.add_column("year", width=4)
    shown.add_column("genres", ratio=1, no_wrap=True, overflow="ellipsis", style="cyan")
    if scores is not None:
        shown.add_column("score", justify="right", width=max([6, *map(len, written)]))
    for place, item_id in enumerate(shown_ids):
        item = retriever.items[item_id]
        cells = [
            Text(str(place + 1)),
            Text(item.title),
            Text("" if item.release_year is None else str(item.release_year)),
            Text(", ".join(item.genres)),
        ]
        if scores is not None:
            cells.append(Text(written[place]))
        shown.add_row(*cells)
    return shown


def _score(score: float) -> str:
    # Inner products and matches lie near 1; event counts, of popularity, have no decimals.
    return f"{score:.{3 if abs(score) < 100 else 0}f}"
