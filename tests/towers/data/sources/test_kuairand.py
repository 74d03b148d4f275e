from pathlib import Path

import pytest

from tests.towers.data.sources.raw_rows import attributes_of, faults, ingested, rows, write
from towers.data.raw import RawTable
from towers.data.sources.kuairand import KuaiRandSettings, read_kuairand
from towers.errors import MissingDataError

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,"
    "long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
FIRST = "0,7,20220421,400,1650485801301,1,0,0,0,0,0,1,90000,104400,0,0,0,0,1\n"
SECOND = "1,8,20220422,2300,1650628801001,0,0,0,0,0,0,0,0,9233,0,0,0,0,1\n"
RANDOM = "1,7,20220423,1200,1650715201001,1,0,0,0,0,0,0,30000,104400,0,0,0,1,1\n"
USERS = (
    "user_id,user_active_degree,follow_user_num_range,onehot_feat4\n"
    '0,full_active,500+,1.0\n1,UNKNOWN,"(0,10]",\n'
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
    "server_height,music_id,music_type,tag\n"
    '7,734,NORMAL,2022-04-10,LongImport,0.0,104400.0,720.0,1280.0,915,9.0,"12,65"\n'
    "8,210,AD,2021-12-31,Kmovie,0.0,,720.0,1280.0,635,9.0,\n"
)


def folder(tmp_path: Path, inside: str = "data", suffix: str = "pure") -> Path:
    root = tmp_path / "KuaiRand-Pure"
    write(root / inside, f"log_standard_4_08_to_4_21_{suffix}.csv", LOG + FIRST)
    write(root / inside, f"log_standard_4_22_to_5_08_{suffix}.csv", LOG + SECOND)
    write(root / inside, f"log_random_4_22_to_5_08_{suffix}.csv", LOG + RANDOM)
    write(root / inside, f"user_features_{suffix}.csv", USERS)
    write(root / inside, f"video_features_basic_{suffix}.csv", VIDEOS)
    return root


@pytest.mark.parametrize("inside", ["data", "."])
def test_logs_videos_and_profiles_are_read_in_their_units(tmp_path: Path, inside: str) -> None:
    source = read_kuairand(KuaiRandSettings(root=str(folder(tmp_path, inside))))
    tables, report = ingested(source, tmp_path)
    events = {each["profile_id"]: each for each in tables.events.to_pylist()}
    assert (events["0"]["item_id"], events["0"]["minutes_watched"]) == ("7", 1.5)
    assert events["0"]["start"].isoformat() == "2022-04-20T20:16:41.301000+00:00"
    assert (events["1"]["item_id"], events["1"]["minutes_watched"]) == ("8", 0.0)
    first, second = tables.items.to_pylist()
    assert (first["title"], first["genres"], first["release_year"]) == ("7", ["12", "65"], 2022)
    assert first["duration_minutes"] == pytest.approx(1.74)
    assert (second["genres"], second["duration_minutes"]) == (None, None)
    assert attributes_of(source.items[0])[1] == {
        "author_id": "210", "video_type": "AD", "upload_dt": "2021-12-31", "upload_type": "Kmovie",
        "visible_status": "0.0", "server_width": "720.0", "server_height": "1280.0", "music_id": "635",
        "music_type": "9.0",
    }  # fmt: skip
    assert attributes_of(source.profiles[0]) == [
        {"user_active_degree": "full_active", "follow_user_num_range": "500+", "onehot_feat4": "1.0"},
        {"user_active_degree": "UNKNOWN", "follow_user_num_range": "(0,10]"},
    ]
    assert report.counts == ()


def test_what_was_shown_at_random_is_read_only_where_it_is_wanted(tmp_path: Path) -> None:
    root = str(folder(tmp_path))
    shown = read_kuairand(KuaiRandSettings(root=root, random_exposure=True)).events
    assert [raw.path.name.split("_")[1] for raw in shown] == ["standard", "standard", "random"]
    assert rows(shown[2], "profile_id", "item_id", "start") == [("1", "7", "1650715201001")]
    assert len(read_kuairand(KuaiRandSettings(root=root)).events) == 2


def test_a_bad_line_of_a_log_is_a_row_with_its_fault(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write(root / "data", "log_standard_4_22_to_5_08_pure.csv", LOG + SECOND + "1,8\n")
    assert faults(read_kuairand(KuaiRandSettings(root=str(root))).events[1]) == [
        (3, "2 fields; expected 19", "1,8")
    ]


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no video_features_basic_\*.csv"):
        read_kuairand(KuaiRandSettings(root=str(tmp_path)))


def test_the_published_side_files_are_read_without_logs(real_data: Path, tmp_path: Path) -> None:
    source = read_kuairand(KuaiRandSettings(root=str(real_data / "kuairand-pure-side")))
    assert source.events == ()
    profiles = source.profiles[0]
    (first,) = attributes_of(RawTable(profiles.path, profiles.frame.head(1)))
    assert len(first) == 30  # every column but the id
    tables, report = ingested(source, tmp_path)
    assert (tables.items.num_rows, tables.profiles.num_rows, tables.events.num_rows) == (7_583, 27_285, 0)
    assert tables.items["duration_minutes"].null_count == 239
    assert report.counts == ()
