"""What search is judged on is read as it is written, and names are taken for one only where they are."""

import gzip
from pathlib import Path

import pytest

from benchmarks.judged_searches import judged_searches, tag_searches
from benchmarks.search_data import main_name, same_name
from benchmarks.streaming_titles import spoken_queries
from tests.retrieval.worlds import items_table
from towers.data.schema import ITEMS, table
from towers.errors import MissingDataError

ITEMS_OF_THREE = table(ITEMS, {"item_id": ["7", "8", "9"], "title": ["A", "B", "C"]})


def _gz(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write(text)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOWERS_DATA", str(tmp_path))
    _gz(
        tmp_path / "ml-latest-small/links.csv.gz",
        "movieId,imdbId,tmdbId\n7,1,700\n8,2,\n9,3,900\n11,4,1100\n",
    )
    return tmp_path


def test_judgments_are_joined_by_tmdb_id(data: Path) -> None:
    folder = data / "tmdb-search-judgments"
    folder.mkdir()
    (folder / "title_judgments.txt").write_text(
        "# qid:1: rambo*1\n# qid:2: star wars*1\n# qid:3: her*1\n\n"
        "4\tqid:1\t # 700\trambo\n0\tqid:1\t # 900\trambo\n3\tqid:1\t # 5\trambo\n"
        "0\tqid:2\t # 700\tstar wars\n4\tqid:3\t # 1100\ther\n"
    )
    assert judged_searches(ITEMS_OF_THREE) == (["rambo"], [{0: 4, 2: 0}])


def test_a_tag_is_one_search_for_all_its_titles(data: Path) -> None:
    tags = "userId,movieId,tag,timestamp\n1,9,Dark,1\n2,7,dark,2\n4,8,!!,4\n5,11,lost,5\n6,8,1990,6\n"
    _gz(data / "ml-latest-small/tags.csv.gz", tags)
    assert tag_searches(ITEMS_OF_THREE) == (["1990", "dark"], [[1], [0, 2]])


def test_utterances_are_the_words_between_blank_lines(data: Path) -> None:
    _gz(data / "mit-movie-queries/trivia10k13test.bio.gz", "O\twhat\nB-Genre\thorror\n\nO\twho\n")
    assert spoken_queries() == ["what horror", "who"]


def test_a_folder_that_is_not_there_is_named(data: Path) -> None:
    with pytest.raises(MissingDataError, match="tmdb-search-judgments: no such folder"):
        judged_searches(items_table(1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Heat", "HEAT"),
        ("The Matrix", "Matrix"),
        ("Les Misérables", "Miserables"),
        ("Solaris (Solyaris)", "Solaris"),
        ("Schindler's List", "Schindlers List"),
    ],
)
def test_names_that_a_text_cannot_tell_apart_are_one(one: str, other: str) -> None:
    assert same_name(one) == same_name(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Rocky", "Rocky II"), ("Heat", "Hear"), ("War Games", "WarGames")]
)
def test_other_names_are_not(one: str, other: str) -> None:
    assert same_name(one) != same_name(other)


def test_the_main_name_has_no_other_in_brackets() -> None:
    assert main_name("The City of Lost Children (La Cité des enfants perdus)") == "The City of Lost Children"
    assert main_name("(500) Days of Summer") == "Days of Summer"
    assert main_name("(Untitled)") == "(Untitled)"
