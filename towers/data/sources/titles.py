"""MovieLens titles: the year in brackets at their end, and the article behind a comma."""

import re

# "(1995)"; of a series "(1975-1979)" or "(2007-)"; before a medium, "(1995) (V)"; or with a bracket too many.
_YEAR = re.compile(r"\((1[89]\d\d|20\d\d)(?:\s*[-–—]\s*(?:\d{4})?)?\s*\){1,2}(?:\s*\((?:V|TV|VG)\))?$")
# No German "Die": "Die, Mommie, Die" is a title.
_ARTICLES = "The|A|An|Le|La|Les|L'|Un|Une|El|Los|Las|Una|Il|Gli|Der|Das|Ein|Eine|De|Het"
_BEHIND = re.compile(rf"^(?P<also>a\.k\.a\. )?(?P<rest>.+?), (?P<article>{_ARTICLES})(?P<subtitle>: .+)?$")
_BRACKETS = re.compile(r"(\s*[()]\s*)")


def split_title(text: str) -> tuple[str, int | None]:
    """The title to show and the release year, None where the text has none; of a range, its first year.

    "City of Lost Children, The (Cité des enfants perdus, La) (1995)" gives
    "The City of Lost Children (La Cité des enfants perdus)" and 1995. A text that is nothing but a year
    keeps it as its title too.
    """
    text = text.strip()
    found = _YEAR.search(text)
    year = int(found[1]) if found else None
    name = text[: found.start()].rstrip() if found else text
    # Each part, in and outside of brackets, has an article of its own.
    return "".join(_article_first(part) for part in _BRACKETS.split(name or text)), year


def _article_first(part: str) -> str:
    found = _BEHIND.match(part)
    if found is None:
        return part
    gap = "" if found["article"].endswith("'") else " "
    return f"{found['also'] or ''}{found['article']}{gap}{found['rest']}{found['subtitle'] or ''}"
