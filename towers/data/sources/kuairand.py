"""KuaiRand: what a video app showed, and how long each video ran; profiles with many features.

Format: log_standard_*.csv and log_random_*.csv `user_id, video_id, time_ms, play_time_ms, …`,
user_features_*.csv, video_features_basic_*.csv `video_id, author_id, video_type, upload_dt, upload_type,
visible_status, video_duration (ms), …, tag`.
Source: C. Gao et al., KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos,
CIKM 2022, doi:10.1145/3511808.3557624.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable, TimeUnit
from towers.data.sources.attributes import attributes
from towers.data.sources.files import matching_files
from towers.data.sources.lines import header_of, scan_text
from towers.errors import MissingDataError

MINUTES_PER_MS = 1 / 60_000
_KEPT = (ROW, FAULT, TEXT)
_OF_VIDEOS = ("author_id", "video_type", "upload_dt", "upload_type", "visible_status", "server_width",
              "server_height", "music_id", "music_type")  # fmt: skip


@dataclass(frozen=True, slots=True)
class KuaiRandSettings:
    """Where KuaiRand (27K, 1K or Pure) is: the folder of its csv files, plain or .gz, or of `data`.

    random_exposure: also read the logs of videos that were shown at random, beside those recommended.
    """

    root: str
    random_exposure: bool = False

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return Path(self.root).resolve().name + (" with random exposure" if self.random_exposure else "")


def read_kuairand(settings: KuaiRandSettings) -> RawSource:
    """The logs, videos and profiles of one folder; without logs, the videos and profiles alone.

    Every video that was shown is an event, however short its play: minutes tell. A video has no title but its
    id; its tags are its genres, its year that of its upload. Features of profiles are attributes.

    Raises MissingDataError where the folder has no video features.
    """
    root = Path(settings.root)
    root = root / "data" if (root / "data").is_dir() else root
    patterns = ["log_standard_*.csv", *(["log_random_*.csv"] if settings.random_exposure else [])]
    videos = matching_files(root, "video_features_basic_*.csv")
    if not videos:
        raise MissingDataError(
            f"{root}: no video_features_basic_*.csv; expected KuaiRand's csv files, plain or .gz"
        )
    return RawSource(
        items=tuple(_items(path) for path in videos),
        events=tuple(_events(path) for pattern in patterns for path in matching_files(root, pattern)),
        profiles=tuple(profile_features(path) for path in matching_files(root, "user_features_*.csv")),
    )


def profile_features(path: Path) -> RawTable:
    """Profiles of a csv file by `user_id`, with all its other columns as attributes."""
    features = [name for name in header_of(path) if name != "user_id"]
    frame = scan_text(path, ["user_id", *features])
    return RawTable(
        path, frame.select(*_KEPT, attributes({name: name for name in features}), profile_id="user_id")
    )


def _events(path: Path) -> RawTable:
    frame = scan_text(path, ["user_id", "video_id", "time_ms", "play_time_ms"]).select(
        *_KEPT, profile_id="user_id", item_id="video_id", start="time_ms", minutes_watched="play_time_ms"
    )
    return RawTable(path, frame, scale={"minutes_watched": MINUTES_PER_MS}, time_unit=TimeUnit.MILLISECONDS)


def _items(path: Path) -> RawTable:
    frame = scan_text(path, ["video_id", "video_duration", "tag", *_OF_VIDEOS]).select(
        *_KEPT,
        attributes({name: name for name in _OF_VIDEOS}),
        item_id="video_id",
        title="video_id",
        release_year=pl.col("upload_dt").str.slice(0, 4),
        released="upload_dt",
        genres="tag",
        duration_minutes="video_duration",
    )
    return RawTable(path, frame, scale={"duration_minutes": MINUTES_PER_MS}, separator={"genres": ","})
