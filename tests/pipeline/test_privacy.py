"""Scripts as a user runs them, on logs of real people: what they write, print and log names nobody."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.traces import bytes_left
from conf.compose import compose_settings
from conf.schema import RebuildSettings
from scripts.rebuild import rebuild
from tests.pipeline.test_scripts import SMALL, must_run, run
from towers.data.privacy.forgotten import FORGOTTEN_FILE, add_forgotten
from towers.data.privacy.pseudonyms import read_pseudonyms

PEOPLE = [f"anna.smith.{number}@example.com" for number in range(40)]
RARE, OFTEN, BROKEN = "my very own search", "a search of many people", "a broken row of my own"
TRAINING = [each for each in SMALL if not each.startswith("data.")]


def write_logs(folder: Path) -> list[str]:
    """Raw logs of forty people and their searches, with a row in each that is at fault; how they are read."""
    events = ["profile_id,item_id,start,minutes_watched,country"]
    for row, who in enumerate(PEOPLE):
        events += [
            f"{who},t{(row + 3 * step) % 20},{1_700_000_000 + 86_400 * step},90,GB" for step in range(6)
        ]
    events.append(f"{PEOPLE[0]},t1,1700000000,{BROKEN}")
    queries = ["profile_id,text,time"] + [f"{who},{OFTEN},1700000100" for who in PEOPLE]
    queries += [f"{PEOPLE[0]},{RARE},1700000200", f"{PEOPLE[0]},{BROKEN},never"]
    items = ["item_id,title", *(f"t{row},Title {row}" for row in range(20))]
    for name, lines in (("events", events), ("queries", queries), ("items", items)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return [
        "data=tables",
        *(f"data.{name}.path={folder / name}.csv" for name in ("events", "queries", "items")),
    ]


@pytest.mark.slow
def test_no_artefact_log_or_error_names_anybody_or_holds_what_one_alone_searched(tmp_path: Path) -> None:
    logs, artifacts = tmp_path / "logs", tmp_path / "artifacts"
    logs.mkdir()
    source = write_logs(logs)
    (tmp_path / "keys").write_text("1f" * 32)
    where, key = f"artifacts={artifacts}", f"privacy.key={tmp_path / 'keys'}"
    private = [
        "privacy=guarded",
        key,
        "privacy.min_profiles_per_place=10",
        "privacy.min_profiles_per_query=10",
    ]
    done = [run("train", *source, *private, where, *TRAINING)]
    done.append(run("build_index", *source, where, "gates.num_queries=40"))
    done.append(run("recommend_all", where, "k=5"))
    assert all(each.returncode == 0 for each in done), [each.stderr for each in done]
    refused = run("ingest", *source, *private, f"artifacts={tmp_path / 'no'}", "rules.type=reject_file")
    assert refused.returncode == 2
    assert "time is withheld" in refused.stderr
    said = artifacts / "said"
    said.write_text("".join(each.stdout + each.stderr for each in [*done, refused]))
    assert bytes_left(artifacts, [*PEOPLE, RARE, BROKEN]) == {}
    # The search would see them: what many asked is kept, under titles that all may see.
    assert "tables/queries.parquet" in bytes_left(artifacts, [OFTEN])
    report = json.loads((artifacts / "tables" / "ingest.json").read_text())
    assert report["key_name"]

    forgot = must_run(
        "forget", where, f"profile={PEOPLE[0]}", f"key={tmp_path / 'keys'}", "erasure.releases_days=0"
    )
    assert "receipt:" in forgot
    assert PEOPLE[0] not in forgot
    assert bytes_left(artifacts, [PEOPLE[0]]) == {}
    assert "to be trained anew" in forgot


def test_a_rebuild_reads_newer_logs_as_the_service_does_and_leaves_the_forgotten_out(tmp_path: Path) -> None:
    logs, artifacts = tmp_path / "logs", tmp_path / "artifacts"
    logs.mkdir()
    source = write_logs(logs)
    (tmp_path / "keys").write_text("1f" * 32)
    key = f"privacy.key={tmp_path / 'keys'}"
    pseudonym = read_pseudonyms(str(tmp_path / "keys")).newest.pseudonym
    gone = artifacts / "releases" / FORGOTTEN_FILE
    add_forgotten(gone, [PEOPLE[0], pseudonym(PEOPLE[0])], datetime.now(UTC))
    told = [*source, "privacy=guarded", key, f"artifacts={artifacts}", "plan=true"]
    with pytest.raises(SystemExit):
        rebuild(compose_settings(RebuildSettings, "rebuild", told))
    assert bytes_left(artifacts, PEOPLE) == {}
    known = pq.read_table(artifacts / "rebuild" / "tables" / "profiles.parquet")["profile_id"].to_pylist()
    assert sorted(known) == sorted(map(pseudonym, PEOPLE[1:]))
