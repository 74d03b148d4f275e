"""The genres and people of a catalogue by the words that people use for them."""

import pyarrow as pa
import pyarrow.compute as pc

from retrieval.eligibility.inverted import flattened
from retrieval.search.spellings import listed
from towers.data.words import words_of

_SYNONYMS = (
    "action",
    "adventure, adventures",
    "animation, animated, cartoon, cartoons",
    "biography, biographical, biopic, biopics",
    "children, kids, family, childrens, children family",
    "comedy, comedies, funny",
    "crime, gangster",
    "documentary, documentaries, docuseries",
    "drama, dramas",
    "fantasy",
    "film noir, noir",
    "history, historical",
    "horror, scary",
    "music, musical, musicals",
    "mystery, mysteries",
    "reality",
    "romance, romantic, romances, love story, love stories",
    "science fiction, sci fi, scifi, sf",
    "sport, sports",
    "thriller, thrillers, suspense",
    "war, military",
    "western, westerns, cowboy",
)
"""Words for one genre, in lines; a catalogue's names are found among them."""
_OF_EVERY_KIND = frozenset(listed("movie movies film films show shows series tv title titles"))

Names = dict[tuple[str, ...], tuple[str, ...]]
"""The words of a name → the names as the catalogue has them."""


def genre_names(items: pa.Table) -> Names:
    """The catalogue's genres and sub-genres by their own words, their plurals and their synonyms."""
    own: Names = {}
    for name in _values(items, "genres", "sub_genres"):
        words = tuple(words_of(name))
        for key in dict.fromkeys((words, tuple(word for word in words if word not in _OF_EVERY_KIND))):
            if key:
                own[key] = (*own.get(key, ()), name)
    found = dict(own)
    for key, names in own.items():
        found.setdefault((*key[:-1], _plural(key[-1])), names)
    for line in _SYNONYMS:
        phrases = [tuple(phrase.split()) for phrase in line.split(", ")]
        names = tuple(dict.fromkeys(name for phrase in phrases for name in own.get(phrase, ())))
        if names:
            found |= dict.fromkeys(phrases, names)
    return found


def people_names(items: pa.Table) -> Names:
    """The cast and directors by their words; not those of one word, which may be a word of anything."""
    found: Names = {}
    for name in _values(items, "cast", "directors"):
        words = tuple(words_of(name))
        if len(words) > 1:
            found[words] = (*found.get(words, ()), name)
    return found


def _values(items: pa.Table, *columns: str) -> list[str]:
    """The distinct values of columns of lists, in order."""
    parts = [flattened(items[column])[0].unique() for column in columns]
    values = pa.chunked_array(parts, pa.string()).unique().drop_null()
    listed: list[str] = pc.take(values, pc.sort_indices(values)).to_pylist()
    return listed


def _plural(word: str) -> str:
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
