"""KuaiRec: watches of a video app, nearly every profile with every video in the small matrix.

Format: big_matrix.csv and small_matrix.csv `user_id, video_id, play_duration (ms), video_duration (ms), time,
date, timestamp (s), watch_ratio`, item_categories.csv `video_id, feat ([27,9])`, user_features.csv, and
kuairec_caption_category.csv `video_id, manual_cover_text, caption, topic_tag, first_level_category_id,
first_level_category_name, …` down to the third level.
Source: C. Gao et al., KuaiRec: A Fully-Observed Dataset and Insights for Evaluating Recommender Systems,
CIKM 2022, doi:10.1145/3511808.3557220.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable, TimeUnit
from towers.data.sources.attributes import attributes
from towers.data.sources.files import find_file, required_file
from towers.data.sources.kuairand import MINUTES_PER_MS, profile_features
from towers.data.sources.lines import TextFormat, scan_text

log = logging.getLogger(__name__)

_KEPT = (ROW, FAULT, TEXT)
_LEVELS = [f"{level}_level_category_name" for level in ("first", "second", "third")]
_CAPTIONS = ["manual_cover_text", "caption", "topic_tag", *_LEVELS]
_UNKNOWN = "UNKNOWN"


class KuaiRecMatrix(StrEnum):
    """Which of the two logs is read: they share profiles and videos, but no watch."""

    BIG = "big"
    SMALL = "small"


@dataclass(frozen=True, slots=True)
class KuaiRecSettings:
    """Where KuaiRec is: the folder of its csv files, plain or .gz, or of `data`; and which matrix is read."""

    root: str
    matrix: KuaiRecMatrix = KuaiRecMatrix.BIG

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return f"{Path(self.root).resolve().name}, {self.matrix} matrix"


def read_kuairec(settings: KuaiRecSettings) -> RawSource:
    """The watches of one matrix, the videos and, where the file is there, the features of profiles.

    A video's length is that of its first watch in the matrix. With the captions its title is its caption,
    else its id; the categories are genres and sub-genres, else its numbered tags are the genres. The watch
    ratio, which passes 1 where a video is looped, is left to minutes and length.

    Raises MissingDataError where the matrix or item_categories.csv is not there.
    """
    root = Path(settings.root)
    root = root / "data" if (root / "data").is_dir() else root
    matrix = required_file(root, f"{settings.matrix}_matrix.csv")
    users = find_file(root, "user_features.csv")
    return RawSource(
        items=(_items(root, matrix),),
        events=(_events(matrix),),
        profiles=() if users is None else (profile_features(users),),
    )


def _events(path: Path) -> RawTable:
    frame = scan_text(path, ["user_id", "video_id", "timestamp", "play_duration"]).select(
        *_KEPT, profile_id="user_id", item_id="video_id", start="timestamp", minutes_watched="play_duration"
    )
    return RawTable(path, frame, scale={"minutes_watched": MINUTES_PER_MS}, time_unit=TimeUnit.SECONDS)


def _items(root: Path, matrix: Path) -> RawTable:
    path = required_file(root, "item_categories.csv")
    videos = scan_text(path, ["video_id", "feat"]).with_columns(pl.col("feat").str.strip_chars("[] "))
    videos = videos.join(_durations(matrix), on="video_id", how="left", maintain_order="left")
    captions = find_file(root, "kuairec_caption_category.csv")
    if captions is None:
        videos = videos.with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in _CAPTIONS), genres="feat"
        )
    else:
        videos = videos.join(_captions(captions), on="video_id", how="left", maintain_order="left")
        videos = videos.with_columns(genres=_LEVELS[0])
    frame = videos.select(
        *_KEPT,
        "genres",
        attributes({"tags": "feat", "cover_text": "manual_cover_text", "topic_tag": "topic_tag"}),
        item_id="video_id",
        title=pl.coalesce("caption", "video_id"),
        sub_genres=pl.concat_list(_LEVELS[1:]).list.drop_nulls(),
        duration_minutes="video_duration",
    )
    return RawTable(path, frame, scale={"duration_minutes": MINUTES_PER_MS}, separator={"genres": ","})


def _durations(matrix: Path) -> pl.LazyFrame:
    watches = scan_text(matrix, ["video_id", "video_duration"])
    return watches.group_by("video_id", maintain_order=True).agg(
        pl.col("video_duration").drop_nulls().first()
    )


def _captions(path: Path) -> pl.LazyFrame:
    """Per video the texts of the caption file, null where unknown; what cannot be read there is logged."""
    frame = scan_text(path, ["video_id", *_CAPTIONS], TextFormat(multi_line=True)).collect()
    readable = frame.filter(pl.col(FAULT).is_null())
    if readable.height < frame.height:
        log.warning("left out captions file=%s num_unreadable=%d", path, frame.height - readable.height)
    known = (
        pl.when(~pl.col(name).str.strip_chars().is_in([_UNKNOWN, "[]", ""])).then(name).alias(name)
        for name in _CAPTIONS
    )
    unique = readable.drop_nulls("video_id").unique("video_id", keep="first", maintain_order=True)
    return unique.select("video_id", *known).lazy()
