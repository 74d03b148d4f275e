from pathlib import Path
from typing import get_args

import pytest

from tests.towers.data.movielens_folders import CSV, write_folder
from tests.towers.data.sources.raw_rows import ingested, write
from towers.data.sources.movielens import MovieLensSettings
from towers.data.sources.read import SourceSettings, read_source
from towers.data.sources.sequences import SequenceSettings
from towers.data.sources.simulated import SimulatedSettings
from towers.errors import MissingDataError


def test_a_source_is_chosen_by_the_type_of_its_settings(tmp_path: Path) -> None:
    root = str(write_folder(tmp_path / "ml", CSV))
    assert read_source(MovieLensSettings(root=root)).events[0].path.name == "ratings.csv"
    path = str(write(tmp_path, "Beauty.txt", "1 2 3\n"))
    assert read_source(SequenceSettings(path=path)).events[0].path.name == "Beauty.txt"


def test_every_source_has_a_title_for_reports_and_a_reader(tmp_path: Path) -> None:
    for kind in get_args(SourceSettings):
        required = [name for name in ("root", "path") if name in kind.__dataclass_fields__]
        settings = kind(**{name: str(tmp_path / "nowhere") for name in required})
        assert settings.title
        if required:
            with pytest.raises(MissingDataError, match="nowhere"):
                read_source(settings)


def test_a_simulated_service_goes_through_ingest_as_it_is(tmp_path: Path) -> None:
    settings = SimulatedSettings(num_profiles=40, num_items=60, num_events=500)
    source = read_source(settings)
    tables, report = ingested(source, tmp_path)
    assert report.num_rejected("items") == report.num_rejected("events") == 0
    assert tables.items.num_rows == 60
    assert tables.events.num_rows == source.events[0].frame.collect().height
