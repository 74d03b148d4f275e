"""The main parameters of a release in plain words: what its answers depend on, and how viewers change them.

What Article 27 of the EU's Digital Services Act (Regulation 2022/2065) asks a service to say: the criteria
that count most, why they do, and which options there are to change them. It is written from the release
itself, so that it says what is read and not what was meant to be.
"""

from collections.abc import Iterable, Mapping, Sequence

from retrieval.control.view import LESS_LIKE
from retrieval.encoder import PrefixEncoder, QueryEncoder
from retrieval.lists import ListAnswers
from retrieval.release.read import Release
from retrieval.vectors import VectorAnswers
from towers.data.features import SENSITIVE_COLUMNS
from towers.nets.two_tower import TwoTower
from towers.nets.user_tower import TimeUse
from towers.recommender import Degraded

OF_CONTROLS: Mapping[str, str] = {
    "excluded_genres": "genres that are never shown",
    "excluded_people": "people whose titles are never shown",
    "excluded_items": "titles that are never shown",
    "less_like": f"titles of which you want less: neither they nor the {LESS_LIKE} most like them are shown",
    "removed": "titles taken out of your history: you are answered as if you had never watched them",
    "personalised": "personalisation, which you can switch off: then nothing that is stored of you is read",
    "max_age": "the age up to which certificates are shown; a PIN keeps it",
    "kids": "a profile for a child: only what is certified for kids; a PIN keeps it",
}
"""What each field of `Controls` is to who decides."""
OF_ANSWERS: Mapping[Degraded, str] = {
    Degraded.UNKNOWN_PROFILE: "nothing is known of you: what is watched most comes first",
    Degraded.EMPTY_HISTORY: "you have watched nothing of this catalogue: you are answered as newcomers are",
    Degraded.NOT_PRECOMPUTED: "no list was made for your history: those of its titles are put together",
    Degraded.NO_MATCH: "no title matches what you searched for: you are answered as if you had not searched",
    Degraded.NOT_AVAILABLE: "the title you searched for is not licensed where you are: you see similar ones",
    Degraded.NOT_PERSONALISED: "you switched personalisation off: you are answered as newcomers are",
    Degraded.BELOW_FLOOR: "some places are kept for new and local titles, and fewer were found for you",
}
"""What each tag of an answer says to who asked."""
_TIME = {
    TimeUse.REQUEST: "when you watched each title, and when you ask",
    TimeUse.HISTORY: "when you watched each title",
    TimeUse.NONE: "in which order you watched them",
}


def main_parameters(release: Release) -> str:
    """The page, as Markdown."""
    answers = release.answers
    encoder = answers.encoder if isinstance(answers, VectorAnswers) else None
    if isinstance(encoder, QueryEncoder | PrefixEncoder):
        lines = _of_towers(encoder.towers)
    elif isinstance(answers, ListAnswers):
        lines = _of_lists(release.profiles.columns)
    else:
        lines = [
            "1. **What you watched**: which titles, the newer the more.",
            "   Who watched what you watched shows what you may like.",
            "2. **What everybody watches**: among equal titles the more watched come first.",
        ]
    unread = [
        column.replace("_", " ") for column in SENSITIVE_COLUMNS if column not in release.profiles.columns
    ]
    return _PAGE.format(
        counts="\n".join(lines),
        unread=", ".join(unread),
        controls=_listed(OF_CONTROLS.values()),
        answers=_listed(OF_ANSWERS.values()),
    )


_PAGE = """# The main parameters of our recommendations

What decides which titles you are shown, and in which order; what counts most, and why; what you can change.

## What counts, the most important first

{counts}

Before all of that stand rules, which no liking outweighs: a title must be licensed where you are, lie within
your limit of age and your exclusions, and be one that you have not watched yet. In a search the text comes
first: what it spells stands above what merely has its words, and what you watched decides among titles that
match alike.

What is not read: your name or number, and your {unread}.

## What you can change

{controls}

A change counts from the next answer on.

## When an answer is another than usual

Such an answer is marked:

{answers}
"""


def _listed(said: Iterable[str]) -> str:
    return "\n".join(f"- {one[0].upper()}{one[1:]}." for one in said)


def _of_towers(towers: TwoTower) -> list[str]:
    columns = list(dict.fromkeys(feature.column for feature in towers.encoder.items.features))
    facts = [column.replace("_", " ") for column in columns if column != "item_id"]
    known = ["country", *towers.encoder.profile_columns]
    num = towers.settings.max_history
    return [
        f"1. **What you watched**: your last {num} titles, how long you watched each;",
        f"   {_TIME[towers.settings.time]}.",
        "   What you chose yourself says most of what you will choose, and what you chose lately says more.",
        "2. **Who watches a title otherwise**: titles that the same people watch lie near each other.",
        "3. **What a title is**:",
        f"   its {', '.join(facts)}.",
        "   That decides where few have watched it yet.",
        f"4. **Where you are**: your {', '.join(known)}. It decides most while you have watched little.",
    ]


def _of_lists(columns: Sequence[str]) -> list[str]:
    known = ["country", *columns]
    return [
        "1. **What you watched**: which titles, the newer the more.",
        "   For each a list of titles was made beforehand.",
        f"2. **Where you are**: your {', '.join(known)}.",
        "3. **What everybody watches**: where the lists end, the more watched come first.",
    ]
