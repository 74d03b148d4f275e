"""Searches whose right answers people have said: tmdb-search-judgments, and the tags of ml-latest-small."""

import re
from collections import defaultdict

import pyarrow as pa
import pyarrow.csv as csv

from benchmarks.streaming_titles import data_folder
from towers.data.words import words_of

_QUERY = re.compile(r"# qid:(\d+): (.*)\*1")
_JUDGMENT = re.compile(r"(\d)\tqid:(\d+)\t # (\d+)\t")


def judged_searches(items: pa.Table) -> tuple[list[str], list[dict[int, int]]]:
    """The texts of tmdb-search-judgments, and the grades by row of the titles of ml-latest-small.

    Joined by TMDB id; a judged title that is not there counts for nothing, and neither does a text without a
    title of a grade above 0. MissingDataError where a folder is not in $TOWERS_DATA.
    """
    links = csv.read_csv(data_folder("ml-latest-small") / "links.csv.gz").select(["movieId", "tmdbId"])
    row_of_item = {item_id: row for row, item_id in enumerate(items["item_id"].to_pylist())}
    row_of_tmdb = {
        link["tmdbId"]: row_of_item[str(link["movieId"])]
        for link in links.to_pylist()
        if link["tmdbId"] is not None and str(link["movieId"]) in row_of_item
    }
    text_of: dict[str, str] = {}
    grades: dict[str, dict[int, int]] = defaultdict(dict)
    lines = (data_folder("tmdb-search-judgments") / "title_judgments.txt").read_text().splitlines()
    for line in lines:
        if found := _QUERY.match(line):
            text_of[found[1]] = found[2]
        elif (found := _JUDGMENT.match(line)) and int(found[3]) in row_of_tmdb:
            grades[found[2]][row_of_tmdb[int(found[3])]] = int(found[1])
    kept = [query for query in text_of if max(grades[query].values(), default=0) > 0]
    return [text_of[query] for query in kept], [grades[query] for query in kept]


def tag_searches(items: pa.Table) -> tuple[list[str], list[list[int]]]:
    """The distinct tags of ml-latest-small, case folded, and the rows of the titles that have each.

    Tags without a word are left out. The catalogue knows nothing of tags. MissingDataError where the folder
    is not in $TOWERS_DATA.
    """
    tags = csv.read_csv(data_folder("ml-latest-small") / "tags.csv.gz").select(["movieId", "tag"])
    row_of_item = {item_id: row for row, item_id in enumerate(items["item_id"].to_pylist())}
    rows_of: dict[str, set[int]] = defaultdict(set)
    for one in tags.to_pylist():
        text = str(one["tag"]).casefold()
        if words_of(text) and str(one["movieId"]) in row_of_item:
            rows_of[text].add(row_of_item[str(one["movieId"])])
    texts = sorted(rows_of)
    return texts, [sorted(rows_of[text]) for text in texts]
