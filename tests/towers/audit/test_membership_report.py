"""The membership audit of an export: planted members are told, chance is not, and what is unknown is said."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from tests.towers.audit.test_membership import by_heart
from tests.worlds import DAY_SECONDS, SIGNALS, START_SECONDS, block_world, write_tables
from towers.audit import membership_report
from towers.audit.membership import Attack, blind_scores
from towers.audit.membership_report import (
    MembershipAudit,
    MembershipFinding,
    MembershipSettings,
    Others,
    audit_export,
    judged,
    render,
    write_plot,
)
from towers.data.dataset import Dataset, read_dataset
from towers.data.histories import Histories
from towers.data.schema import EVENTS, TIME, Tables, table
from towers.data.signals.settings import SignalSettings
from towers.data.split import Split, SplitKind, SplitSettings, split
from towers.errors import ConfigError, ReleaseError
from towers.evaluation.exact import ExactRecommender

FEW = MembershipSettings(min_profiles=20)
HALF = SplitSettings(unlearned_share=0.5)
CHANCE = Attack(500, 500, 0.5, 0.47, 0.53, 0.01, 0.0, 0.03)


class Service:
    """Tables, and an export over them whose towers are a model that a test plants."""

    def __init__(self, folder: Path, tables: Tables, settings: SplitSettings, **context: object) -> None:
        self.tables, self.model = folder / "tables", folder / "model"
        write_tables(tables, self.tables)
        self.dataset: Dataset = read_dataset(self.tables, SignalSettings())
        self.parts: Split = split(self.dataset, settings)
        self.num_items = len(self.dataset.catalogue)
        self.model.mkdir()
        for name in ("model.json", "towers.safetensors"):
            (self.model / name).write_text(name)
        told = {"split": asdict(settings), "signals": SIGNALS, "objective": {"temperature": 0.1}, **context}
        (self.model / "training.json").write_text(json.dumps(told))

    def audited(
        self, towers: ExactRecommender, monkeypatch: pytest.MonkeyPatch, settings: MembershipSettings = FEW
    ) -> MembershipAudit:
        encoder = SimpleNamespace(encode=lambda items: items)
        planted = SimpleNamespace(encoder=encoder, exact=lambda items: towers)
        monkeypatch.setattr(membership_report, "load_towers", lambda folder: planted)
        return audit_export(self.model, self.tables, self.parts.num_watches, settings)


def shown(audit: MembershipAudit) -> str:
    console = Console(width=110, file=io.StringIO(), record=True)
    console.print(render(audit))
    return console.export_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("service"), block_world(2, 20, 60, 8, seed=1), HALF)


def test_towers_that_know_their_members_by_heart_are_told(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    audit = service.audited(by_heart(service.parts.train, service.num_items), monkeypatch)
    assert audit.others is Others.UNLEARNED
    assert audit.num_members + audit.num_others == 120
    assert 40 < audit.num_others < 80
    assert audit.finding is MembershipFinding.TELLS
    assert audit.attacks["loss"].auc_low > 0.9
    assert audit.attacks["loss"].tpr_low > 0.9
    assert set(audit.blind) == {"popularity", "number of events"}
    assert all(one.auc_low <= 0.5 <= one.auc_high for one in audit.blind.values())
    said = shown(audit)
    assert "membership: tells members" in said
    assert "blind: popularity" in said
    assert write_plot(audit, tmp_path / "audit") == tmp_path / "audit" / "membership.png"
    text = json.dumps(audit.to_json())
    assert json.loads(text)["attacks"]["loss"]["num_others"] == audit.num_others
    assert '"p1' not in text


def test_towers_that_learned_from_nobody_are_not(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(3).normal(size=(1, service.num_items)).astype(np.float32)
    towers = ExactRecommender(
        lambda queries: np.repeat(drawn, len(queries), axis=0), np.eye(service.num_items, dtype=np.float32)
    )
    wide = replace(FEW, max_auc=0.8)
    audit = service.audited(towers, monkeypatch, wide)
    assert audit.finding is MembershipFinding.WITHIN
    assert "private" not in shown(audit)
    # So few profiles cannot show that the area is no more than .55.
    audit = service.audited(towers, monkeypatch)
    assert audit.finding is MembershipFinding.UNKNOWN
    assert "too few profiles to tell" in audit.reason


def test_at_most_so_many_of_each_group_are_looked_at(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = by_heart(service.parts.train, service.num_items)
    found = service.audited(towers, monkeypatch, replace(FEW, max_profiles=25)).attacks["loss"]
    assert (found.num_members, found.num_others) == (25, 25)


def test_where_all_are_learned_from_it_is_unknown_and_the_way_on_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path, block_world(2, 20, 30, 6, seed=1), SplitSettings())
    audit = service.audited(by_heart(service.parts.train, service.num_items), monkeypatch)
    assert (audit.others, audit.finding) == (Others.NONE, MembershipFinding.UNKNOWN)
    assert "60 members and 0 others" in audit.reason
    assert "train again with split.unlearned_share" in audit.reason
    assert write_plot(audit, tmp_path) is None
    assert "membership: unknown" in shown(audit)


def later_world() -> Tables:
    """Profiles of an early season, and others of a late one that watch titles which few watched before."""
    rng = np.random.default_rng(0)
    early, late = block_world(1, 40, 60, 6, seed=2), 30
    new = early.items["item_id"].to_pylist()[30:]
    watched = [rng.choice(new, 4, replace=False).tolist() for _ in range(late)]
    start = START_SECONDS + 400 * DAY_SECONDS
    events: dict[str, object] = {
        "profile_id": [f"late{row}" for row in range(late) for _ in range(4)],
        "item_id": [one for each in watched for one in each],
        "start": pa.array([1000 * (start + 60 * place) for place in range(4 * late)], TIME),
        "minutes_watched": [90.0] * (4 * late),
        "country": ["GB"] * (4 * late),
    }
    profiles = early.profiles.slice(0, late)
    place = profiles.column_names.index("profile_id")
    ids = pa.array([f"late{row}" for row in range(late)])
    profiles = profiles.set_column(place, profiles.schema.field(place), ids)
    rare = pa.array([one not in new or rng.random() < 0.2 for one in early.events["item_id"].to_pylist()])
    return replace(
        early,
        events=pa.concat_tables([early.events.filter(rare), table(EVENTS, events)]),
        profiles=pa.concat_tables([early.profiles, profiles]),
    )


def test_later_profiles_that_any_eye_tells_from_members_say_nothing_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_time = SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.2, validation_share=0.1)
    service = Service(tmp_path, later_world(), by_time)
    audit = service.audited(by_heart(service.parts.train, service.num_items), monkeypatch)
    assert audit.others is Others.LATER
    assert audit.num_others == 30
    assert audit.attacks["loss"].auc_low > 0.5
    assert audit.finding is MembershipFinding.UNKNOWN
    assert "tells members from others without the model" in audit.reason


def test_towers_that_go_on_from_others_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path, block_world(2, 20, 60, 6, seed=1), HALF, warm_start="older/model")
    audit = service.audited(by_heart(service.parts.train, service.num_items), monkeypatch)
    assert audit.finding is MembershipFinding.UNKNOWN
    assert "train without warm_start" in audit.reason


def test_other_tables_and_settings_are_refused(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = by_heart(service.parts.train, service.num_items)
    with pytest.raises(ReleaseError, match=r"not what the towers in .* learned from"):
        audit_export(service.model, service.tables, service.parts.num_watches + 1, FEW)
    other = Service(tmp_path, block_world(2, 20, 60, 6, seed=1), HALF, objective={})
    with pytest.raises(ReleaseError, match=r"objective\.temperature is None"):
        other.audited(towers, monkeypatch)
    with pytest.raises(ConfigError, match=r"^membership\.max_auc: 0\.5 is out of range"):
        service.audited(towers, monkeypatch, MembershipSettings(max_auc=0.5))


@pytest.mark.parametrize(
    ("attack", "blind", "finding"),
    [
        ((0.47, 0.53), (0.47, 0.53), MembershipFinding.WITHIN),
        ((0.51, 0.54), (0.47, 0.53), MembershipFinding.WITHIN),  # sure to be small
        ((0.51, 0.56), (0.47, 0.53), MembershipFinding.TELLS),
        ((0.49, 0.56), (0.47, 0.53), MembershipFinding.UNKNOWN),
        ((0.47, 0.53), (0.51, 0.55), MembershipFinding.UNKNOWN),
        ((0.80, 0.90), (0.42, 0.49), MembershipFinding.UNKNOWN),
    ],
)
def test_a_finding_is_what_the_whole_interval_says(
    attack: tuple[float, float], blind: tuple[float, float], finding: MembershipFinding
) -> None:
    def one(low: float, high: float) -> Attack:
        return replace(CHANCE, auc=(low + high) / 2, auc_low=low, auc_high=high)

    audit = MembershipAudit(
        "films",
        "0" * 64,
        MembershipSettings(),
        Others.UNLEARNED,
        500,
        500,
        MembershipFinding.UNKNOWN,
        "",
        {"loss": one(*attack), "rank": CHANCE},
        {"popularity": one(*blind)},
    )
    assert judged(audit).finding is finding


def test_what_a_blind_attack_sees_leaves_out_what_a_member_watched_itself() -> None:
    scores = blind_scores(histories(), np.array([2, 5, 1]), np.array([True, False, False]), most_events=1)
    # Profile 0, a member, is asked for title 2, which nobody else watched; profile 1 for the same one.
    assert scores["popularity"].tolist() == pytest.approx([0.0, np.log(2.0), 0.0])
    assert scores["number of events"].tolist() == [3.0, 2.0, 1.0]


def histories() -> Histories:
    item_row = np.array([0, 1, 2, 1, 2, 0])
    return Histories(
        offset=np.array([0, 3, 5, 6]),
        item_row=item_row,
        time_seconds=np.arange(6),
        minutes=np.full(6, 90.0, np.float32),
        weight=np.ones(6, np.float32),
    )
