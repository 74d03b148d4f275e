import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.towers.data.sources.raw_rows import faults, ingested, rows, write
from towers.data.dataset import dataset_from_tables
from towers.data.raw import ROW
from towers.data.sources.sequences import SequenceForm, SequenceSettings, read_sequences
from towers.errors import MissingDataError, ParseError

USERS = "1 10 20 30\n2 20\n\n3  10 10 \n"
EVENTS = "1 10\n2 20\n1 30\n"
DAY = datetime(2000, 1, 1, tzinfo=UTC)


def after(seconds: int) -> datetime:
    return DAY + timedelta(seconds=seconds)


def test_the_items_of_a_user_follow_each_other_by_a_second(tmp_path: Path) -> None:
    path = write(tmp_path, "Beauty.txt", USERS)
    source = read_sequences(SequenceSettings(path=str(path)))
    assert source.items == ()
    assert rows(source.events[0], ROW, "profile_id", "item_id", "start") == [
        (1, "1", "10", after(1)), (1, "1", "20", after(2)), (1, "1", "30", after(3)),
        (2, "2", "20", after(1)),
        (4, "3", "10", after(1)), (4, "3", "10", after(2)),
    ]  # fmt: skip
    assert faults(source.events[0]) == []


def test_the_order_of_a_file_survives_ingest(tmp_path: Path) -> None:
    path = write(tmp_path, "Beauty.txt", "7 5 4 9 1\n8 1 2\n")
    tables, report = ingested(read_sequences(SequenceSettings(path=str(path))), tmp_path)
    dataset = dataset_from_tables(tables)
    watched = {
        profile: [
            dataset.catalogue.ids[row] for row in dataset.history.items_of(dataset.profiles.row(profile))
        ]
        for profile in ("7", "8")
    }
    assert watched == {"7": ["5", "4", "9", "1"], "8": ["1", "2"]}
    assert report.added == {"items": 5, "events": 0, "profiles": 2, "queries": 0}


def test_a_user_without_items_is_a_row_with_its_fault(tmp_path: Path) -> None:
    path = write(tmp_path, "Beauty.txt", "1 10\n2\n3 20\n")
    (events,) = read_sequences(SequenceSettings(path=str(path))).events
    assert faults(events) == [(2, "a user without items", "2")]
    assert rows(events, "profile_id", "item_id") == [("1", "10"), ("2", None), ("3", "20")]


def test_the_events_of_a_file_follow_each_other_by_a_second(tmp_path: Path) -> None:
    path = write(tmp_path, "Video.txt", EVENTS + "4\n")
    source = read_sequences(SequenceSettings(path=str(path), form=SequenceForm.EVENTS))
    assert rows(source.events[0], "profile_id", "item_id", "start")[:3] == [
        ("1", "10", after(1)),
        ("2", "20", after(2)),
        ("1", "30", after(3)),
    ]
    assert faults(source.events[0]) == [(4, "1 fields; expected 2", "4")]


@pytest.mark.parametrize("zipped", [False, True])
def test_attributes_are_the_genres_and_items_without_any_are_kept(tmp_path: Path, zipped: bool) -> None:
    path = write(tmp_path, "Beauty.txt", USERS)
    named = json.dumps({"20": [3, 1], "99": []}).encode()
    of_items = write(tmp_path, "a.json.gz" if zipped else "a.json", gzip.compress(named) if zipped else named)
    (items,) = read_sequences(SequenceSettings(path=str(path), attributes=str(of_items))).items
    assert rows(items, ROW, "item_id", "title", "genres") == [
        (1, "20", "20", ["3", "1"]),
        (2, "99", "99", []),
        (3, "10", "10", None),
        (4, "30", "30", None),
    ]


@pytest.mark.parametrize("content", ["{", "[1]", '{"1": 2}', b"\xff"])
def test_attributes_that_are_no_map_of_lists_are_refused(tmp_path: Path, content: str | bytes) -> None:
    settings = SequenceSettings(
        path=str(write(tmp_path, "b.txt", USERS)), attributes=str(write(tmp_path, "a.json", content))
    )
    with pytest.raises(ParseError, match=r"a.json: .*; expected JSON of item → attribute ids"):
        read_sequences(settings)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"b.txt: no such file"):
        read_sequences(SequenceSettings(path=str(tmp_path / "b.txt")))


def test_the_published_beauty_file_has_its_counts(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "amazon-beauty"
    settings = SequenceSettings(
        path=str(folder / "sequences.txt.gz"), attributes=str(folder / "item2attributes.json.gz")
    )
    assert settings.title == "amazon-beauty/sequences.txt.gz"
    tables, report = ingested(read_sequences(settings), tmp_path)
    assert tables.events.num_rows == 198_502
    assert tables.profiles.num_rows == 22_363
    assert tables.items.num_rows == 12_101
    genres = {genre for found in tables.items["genres"].to_pylist() for genre in found or []}
    assert len(genres) == 637
    assert [c for c in report.counts if c.rule != "time_travel"] == []


def test_the_published_video_games_file_has_its_counts(real_data: Path, tmp_path: Path) -> None:
    settings = SequenceSettings(
        path=str(real_data / "amazon-video-games" / "user_item.txt.gz"), form=SequenceForm.EVENTS
    )
    tables, _ = ingested(read_sequences(settings), tmp_path)
    assert tables.events.num_rows == 287_107
    assert tables.profiles.num_rows == 31_013
    assert tables.items.num_rows == 23_715
