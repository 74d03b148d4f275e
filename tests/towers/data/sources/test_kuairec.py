import logging
from pathlib import Path

import pytest

from tests.towers.data.sources.raw_rows import attributes_of, ingested, write
from towers.data.sources.kuairec import KuaiRecMatrix, KuaiRecSettings, read_kuairec
from towers.errors import MissingDataError

HEADER = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
BIG = HEADER + (
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397\n"
    "0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,1.244082\n"
    "7,3649,0,10867,2020-07-05 00:13:41.297,20200705,1593879221.297,0.0\n"
)
SMALL = HEADER + (
    "14,9598,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.722103\n"
    "14,3649,11635,6100,,,,1.907377\n"
)
CATEGORIES = 'video_id,feat\n3649,"[27, 9]"\n9598,[8]\n77,[]\n'
CAPTIONS = (
    "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
    "second_level_category_id,second_level_category_name,third_level_category_id,third_level_category_name\n"
    '3649,UNKNOWN,"五爱街最美美女\n一天1q",[街拍],8,颜值,673,颜值随拍,-124,UNKNOWN\n'
    "9598,封面,,[],9,喜剧,727,搞笑互动,38,生活\n"
    "77,a,b\n"
)
USERS = "user_id,user_active_degree,onehot_feat0\n0,high_active,0\n7,full_active,1\n14,full_active,\n"


def folder(tmp_path: Path, captions: str | None = CAPTIONS) -> str:
    root = tmp_path / "KuaiRec" / "data"
    write(root, "big_matrix.csv", BIG)
    write(root, "small_matrix.csv", SMALL)
    write(root, "item_categories.csv", CATEGORIES)
    write(root, "user_features.csv", USERS)
    if captions is not None:
        write(root, "kuairec_caption_category.csv", captions)
    return str(root.parent)


def test_the_big_matrix_is_read_with_its_videos_and_profiles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        source = read_kuairec(KuaiRecSettings(root=folder(tmp_path)))
        tables, report = ingested(source, tmp_path)
    events = {(each["profile_id"], each["item_id"]): each for each in tables.events.to_pylist()}
    assert events["0", "3649"]["minutes_watched"] == pytest.approx(13838 / 60_000)
    assert events["0", "3649"]["start"].isoformat() == "2020-07-04T16:08:23.438000+00:00"
    assert events["0", "3649"]["completion"] is None
    first, second, third = tables.items.to_pylist()
    assert (first["title"], first["genres"], first["sub_genres"]) == (
        "五爱街最美美女\n一天1q", ["颜值"], ["颜值随拍"],
    )  # fmt: skip
    assert first["duration_minutes"] == pytest.approx(10867 / 60_000)
    assert (second["title"], second["genres"], second["sub_genres"]) == (
        "9598",
        ["喜剧"],
        ["搞笑互动", "生活"],
    )
    assert (third["title"], third["genres"], third["duration_minutes"]) == ("77", None, None)
    assert attributes_of(source.items[0]) == [
        {"tags": "27, 9", "topic_tag": "[街拍]"},
        {"tags": "8", "cover_text": "封面"},
        {},
    ]
    assert attributes_of(source.profiles[0])[2] == {"user_active_degree": "full_active"}
    assert report.counts == ()
    assert "num_unreadable=1" in caplog.text


def test_the_small_matrix_has_other_watches_and_lengths_and_some_without_a_time(tmp_path: Path) -> None:
    source = read_kuairec(KuaiRecSettings(root=folder(tmp_path), matrix=KuaiRecMatrix.SMALL))
    tables, report = ingested(source, tmp_path)
    assert tables.events["item_id"].to_pylist() == ["9598"]
    assert [(c.rule, c.column, c.num_rows) for c in report.counts] == [("missing", "start", 1)]
    lengths = dict(
        zip(tables.items["item_id"].to_pylist(), tables.items["duration_minutes"].to_pylist(), strict=True)
    )
    assert lengths == pytest.approx({"3649": 6100 / 60_000, "9598": 6067 / 60_000, "77": None})


def test_without_captions_the_tags_are_the_genres(tmp_path: Path) -> None:
    tables, _ = ingested(read_kuairec(KuaiRecSettings(root=folder(tmp_path, None))), tmp_path)
    assert tables.items["genres"].to_pylist() == [["27", "9"], ["8"], None]
    assert tables.items["title"].to_pylist() == ["3649", "9598", "77"]
    assert tables.items["sub_genres"].null_count == 3


def test_a_matrix_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"big_matrix.csv there, plain or .gz"):
        read_kuairec(KuaiRecSettings(root=str(tmp_path)))
