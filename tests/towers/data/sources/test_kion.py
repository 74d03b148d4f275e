from pathlib import Path

import pytest

from tests.towers.data.sources.raw_rows import attributes_of, faults, ingested, write
from towers.data.sources.kion import KionSettings, read_kion
from towers.errors import MissingDataError, ParseError

INTERACTIONS = (
    "user_id,item_id,last_watch_dt,total_dur,watched_pct\n"
    "176549,9506,2021-05-11,4250,72.0\n"
    "699317,1659,2021-05-29,8317,100.0\n"
    "656683,7107,2021-05-09,10,0.0\n"
    "864613,7638,2021-07-05,14483,\n"
    "11,9506,2021-07-05,60,101.0\n"
)
USERS = (
    "user_id,age,income,sex,kids_flg\n"
    "176549,age_25_34,income_60_90,М,1\n"
    "699317,age_18_24,income_20_40,Ж,0\n"
    "656683,,,,0\n"
)
ITEMS = (
    ",item_id,content_type,title,title_orig,release_year,genres,countries,for_kids,age_rating,studios,"
    "directors,actors,description,keywords\n"
    '0,9506,film,Поговори с ней,Hable con ella,2002.0,"драмы, зарубежные, мелодрамы",Испания,,16.0,,'
    'Педро Альмодовар,"Адольфо Фернандес, Ана Фернандес","Мелодрама легендарного\nПедро Альмодовара.",'
    '"Поговори, ней, 2002"\n'
    "1,1659,series,Голые перцы,,,комедии,США,0.0,18.0,Fox,,,,\n"
    "2,7107,film,Тактическая сила,Tactical Force,2011.0,,,1.0,16.0,,,,,\n"
    "3,7638,film,45 лет,45 Years,2015.0,,,,,,,,,\n"
)


def folder(tmp_path: Path, suffix: str = "", items: str = ITEMS) -> KionSettings:
    root = tmp_path / "kion"
    write(root, "interactions.csv", INTERACTIONS)
    write(root, f"users{suffix}.csv", USERS)
    write(root, f"items{suffix}.csv", items)
    return KionSettings(root=str(root))


@pytest.mark.parametrize("suffix", ["", "_en"])
def test_watches_have_their_minutes_and_share(tmp_path: Path, suffix: str) -> None:
    tables, report = ingested(read_kion(folder(tmp_path, suffix)), tmp_path)
    events = {each["profile_id"]: each for each in tables.events.to_pylist()}
    assert events["176549"]["minutes_watched"] == pytest.approx(4250 / 60)
    assert events["176549"]["completion"] == pytest.approx(0.72)
    assert events["176549"]["start"].isoformat() == "2021-05-11T00:00:00+00:00"
    assert events["699317"]["completion"] == pytest.approx(1.0)
    assert events["864613"]["completion"] is None
    # More than the whole title is for the rule on ranges to judge, not for the source.
    of_events = [(c.rule, c.column, c.num_rows) for c in report.counts if c.table == "events"]
    assert of_events == [("range", "completion", 1), ("unknown_profile", "profile_id", 1)]


def test_profiles_have_age_income_sex_and_kids(tmp_path: Path) -> None:
    tables, _ = ingested(read_kion(folder(tmp_path)), tmp_path)
    profiles = {each["profile_id"]: each for each in tables.profiles.to_pylist()}
    columns = ("age_band", "income", "gender", "kids")
    assert [profiles["176549"][name] for name in columns] == ["age_25_34", "income_60_90", "М", True]
    assert [profiles["699317"][name] for name in columns] == ["age_18_24", "income_20_40", "Ж", False]
    assert [profiles["656683"][name] for name in columns] == [None, None, None, False]


def test_titles_have_their_metadata_and_a_synopsis_of_several_lines(tmp_path: Path) -> None:
    source = read_kion(folder(tmp_path))
    tables, report = ingested(source, tmp_path)
    first, series, *_ = tables.items.to_pylist()
    assert (
        first
        | {
            "item_id": "9506",
            "title": "Поговори с ней",
            "release_year": 2002,
            "genres": ["драмы", "зарубежные", "мелодрамы"],
            "countries": ["Испания"],
            "maturity": "16",
            "directors": ["Педро Альмодовар"],
            "cast": ["Адольфо Фернандес", "Ана Фернандес"],
            "synopsis": "Мелодрама легендарного\nПедро Альмодовара.",
            "duration_minutes": None,
        }
        == first
    )
    assert series["release_year"] is None
    assert series["maturity"] == "18"
    assert attributes_of(source.items[0])[:2] == [
        {"content_type": "film", "title_orig": "Hable con ella", "keywords": "Поговори, ней, 2002"},
        {"content_type": "series", "for_kids": "0.0", "studios": "Fox"},
    ]
    assert [c for c in report.counts if c.table == "items"] == []


def test_a_record_that_cannot_be_taken_apart_is_a_row_with_its_fault(tmp_path: Path) -> None:
    source = read_kion(folder(tmp_path, items=ITEMS + "4,5,film,Короче\n"))
    assert faults(source.items[0]) == [(7, "4 fields; expected 15", "4,5,film,Короче")]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    settings = folder(tmp_path)
    (Path(settings.root) / "users.csv").unlink()
    with pytest.raises(MissingDataError, match=r"expected users.csv or users_en.csv there, plain or .gz"):
        read_kion(settings)
    write(Path(settings.root), "users.csv", "user_id,age\n")
    with pytest.raises(ParseError, match=r"users.csv:1: the header 'user_id,age' has 0 columns 'income'"):
        read_kion(settings)
