import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from tests.worlds import block_world
from towers.data.batches import query_batch
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.days import SECONDS_PER_DAY
from towers.data.feature_encoder import fit_features
from towers.data.features import FeatureSettings
from towers.data.histories import Histories
from towers.data.schema import ITEMS, TIME, table
from towers.errors import ConfigError, MissingDataError, ReleaseError
from towers.nets.moments import Clock
from towers.nets.two_tower import ModelSettings, TwoTower, fingerprint, load_towers, save_towers
from towers.nets.user_tower import TimeUse
from towers.recommender import Queries

SMALL = ModelSettings(dim=16, num_layers=2, num_heads=2, max_history=6)
CLOCK = Clock(2**31 - 10 * SECONDS_PER_DAY, SECONDS_PER_DAY, 12, 2**31)
ALL = (
    SMALL,
    replace(SMALL, time=TimeUse.HISTORY),
    replace(SMALL, time=TimeUse.NONE),
    replace(SMALL, dim=24, num_members=3, num_heads=1),
    replace(SMALL, num_interests=3),
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Titles of three blocks; two of three have a day of release, weeks before the end of the clock."""
    tables = block_world(3, 8, 4, 6, seed=0)
    day = [None if row % 3 == 0 else row for row in range(tables.items.num_rows)]
    released = [None if days is None else 1000 * (CLOCK.end_seconds - days * 86_400) for days in day]
    place = tables.items.schema.get_field_index("released")
    items = tables.items.set_column(place, "released", pa.array(released, TIME))
    return dataset_from_tables(replace(tables, items=items))


def made(dataset: Dataset, settings: ModelSettings) -> TwoTower:
    """Towers whose weights are all random, those that training starts at 0 too."""
    torch.manual_seed(0)
    encoder = fit_features(dataset.items, dataset.profile_table, FeatureSettings())
    ages = settings.ages(CLOCK.start_seconds, CLOCK.end_seconds)
    towers = TwoTower(settings, encoder, CLOCK if settings.time is TimeUse.REQUEST else None, ages).eval()
    for name, weights in towers.named_parameters():
        if any(part in name for part in ("knot", "age_bias", "kappa", "newness", "size")):
            torch.nn.init.normal_(weights, std=0.5)
    return towers


@pytest.fixture(scope="module")
def towers(dataset: Dataset) -> TwoTower:
    return made(dataset, SMALL)


@pytest.fixture(scope="module", params=ALL, ids=["request", "history", "none", "members", "interests"])
def each(request: pytest.FixtureRequest, dataset: Dataset) -> TwoTower:
    return made(dataset, request.param)


def queries_of(dataset: Dataset, history: Histories | None = None) -> Queries:
    history = dataset.history if history is None else history
    country = np.resize(dataset.country, len(history))
    return Queries(history, np.full(len(history), 2**31), country)


def item_vectors(dataset: Dataset, towers: TwoTower) -> torch.Tensor:
    return torch.from_numpy(towers.embed(towers.encoder.encode(dataset.items)))


def test_all_vectors_have_unit_length(dataset: Dataset, each: TwoTower) -> None:
    item = item_vectors(dataset, each)
    query = each.encode(queries_of(dataset), item)
    np.testing.assert_allclose(np.linalg.norm(item.numpy(), axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(query, axis=-1), 1.0, atol=1e-5)


def test_a_position_reads_nothing_after_it(dataset: Dataset, each: TwoTower) -> None:
    item = item_vectors(dataset, each)
    asked = np.full(len(dataset.history), 2**31)
    profiles = each.encoder.encode_profiles(dataset.profile_table, dataset.country)
    batch = query_batch(dataset.history, asked, profiles, 6)
    changed = query_batch(dataset.history, asked, profiles, 6)
    # Six events a window, packed one after another.
    changed.item_row.view(-1, 6)[:, 4:] = (changed.item_row.view(-1, 6)[:, 4:] + 1) % len(item)
    changed.minutes.view(-1, 6)[:, 4:] = 1.0
    with torch.inference_mode():
        before, after = (
            one.flatten(1).view(len(dataset.history), 7, -1)
            for one in (each(batch, item), each(changed, item))
        )
    torch.testing.assert_close(before[:, :5], after[:, :5], atol=1e-6, rtol=0)
    assert (before[:, 5:] - after[:, 5:]).abs().amax(-1).min() > 1e-3


def test_a_query_is_encoded_the_same_alone_and_among_longer_ones(dataset: Dataset, each: TwoTower) -> None:
    item = item_vectors(dataset, each)
    lengths = np.array([0, 1, 3, 6, 2, 5, 4, 6, 1, 0, 6, 2])
    history = dataset.history.first(lengths)
    together = each.encode(queries_of(dataset, history), item)
    for row in range(len(history)):
        alone = each.encode(
            queries_of(dataset).__class__(
                history.select(np.array([row])), np.array([2**31]), dataset.country[[row]]
            ),
            item,
        )
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_only_the_last_events_are_read(dataset: Dataset, each: TwoTower) -> None:
    item = item_vectors(dataset, each)
    history = dataset.history
    twice = Histories(
        np.array([0, 12]),
        np.concatenate([history.item_row[6:12], history.item_row[:6]]),
        np.concatenate([history.time_seconds[:6] - 10**6, history.time_seconds[:6]]),
        np.concatenate([history.minutes[6:12], history.minutes[:6]]),
    )
    other = Histories(twice.offset, twice.item_row.copy(), twice.time_seconds, twice.minutes)
    other.item_row[:5] = 0
    one = each.encode(queries_of(dataset, twice), item)
    np.testing.assert_array_equal(one, each.encode(queries_of(dataset, other), item))


def test_without_history_only_the_country_counts(dataset: Dataset, each: TwoTower) -> None:
    item = item_vectors(dataset, each)
    known = dataset.country[0]
    asked = Queries(Histories.empty(3), np.zeros(3, np.int64), np.array([known, known, "XX"]))
    vectors = each.encode(asked, item)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4


def asked_at(dataset: Dataset, seconds: int) -> Queries:
    return replace(queries_of(dataset), time_seconds=np.full(len(dataset.history), seconds))


def later(history: Histories, seconds: np.ndarray) -> Histories:
    return replace(history, time_seconds=history.time_seconds + seconds)


def test_what_a_vector_knows_of_time_is_what_its_setting_says(dataset: Dataset, each: TwoTower) -> None:
    item = item_vectors(dataset, each)
    time = each.settings.time
    asked = queries_of(dataset)
    before = each.encode(asked, item)

    def moves(queries: Queries) -> bool:
        return bool(np.abs(each.encode(queries, item) - before).max() > 1e-4)

    num_events = dataset.history.num_events
    # Spans are read in powers of two, so that only a much longer one is another.
    stretched = later(dataset.history, (np.arange(num_events) % 6 - 5) * 10**8)
    whole = later(dataset.history, np.full(num_events, -(10**6)))
    assert moves(asked_at(dataset, 2**31 - 3 * SECONDS_PER_DAY)) == (time is TimeUse.REQUEST)
    assert moves(replace(asked, history=stretched)) == (time is not TimeUse.NONE)
    # Moved as a whole, events and question, nothing has changed but the moment.
    moved = replace(asked, history=whole, time_seconds=asked.time_seconds - 10**6)
    assert moves(moved) == (time is TimeUse.REQUEST)


def test_a_moment_moves_the_vectors_of_new_profiles_too(dataset: Dataset, towers: TwoTower) -> None:
    item = item_vectors(dataset, towers)
    asked = Queries(
        Histories.empty(2), np.array([2**31, 2**31 - 4 * SECONDS_PER_DAY]), dataset.country[[0, 0]]
    )
    one, other = towers.encode(asked, item)
    assert np.abs(one - other).max() > 1e-3


def test_the_score_of_members_is_the_mean_of_their_cosines(dataset: Dataset) -> None:
    towers = made(dataset, replace(SMALL, dim=24, num_members=3, num_heads=1))
    item = item_vectors(dataset, towers)
    query = torch.from_numpy(towers.encode(queries_of(dataset), item))
    parts = zip(torch.split(query, 8, dim=1), torch.split(item, 8, dim=1), strict=True)
    cosines = [F.cosine_similarity(q[:, None], v[None], dim=-1) for q, v in parts]
    assert (cosines[0] - cosines[1]).abs().max() > 0.1
    torch.testing.assert_close(query @ item.T, torch.stack(cosines).mean(0), atol=1e-5, rtol=0)


def test_interests_read_different_events(dataset: Dataset) -> None:
    towers = made(dataset, replace(SMALL, num_interests=2, num_layers=1, age_share=0.0))
    users = towers.pairs()[0].users
    item = item_vectors(dataset, towers)
    with torch.no_grad():
        # What the interests share is silenced, and each has the taste of one title.
        for one in (users.out[1], *users.moments()):
            for weight in one.parameters():
                weight.zero_()
        assert users.taste is not None
        users.taste.copy_(40.0 * item[:2])
    history = replace(
        dataset.history.first(np.array([2] + [0] * (len(dataset.history) - 1))), item_row=np.array([0, 1])
    )
    one, other = torch.from_numpy(towers.encode(queries_of(dataset, history), item)[0])
    assert item[0] @ item[1] < 0.9
    # The last event counts most, but each interest follows its own.
    torch.testing.assert_close(one, item[0], atol=0.05, rtol=0)
    torch.testing.assert_close(other, item[1], atol=0.05, rtol=0)


def test_one_interest_has_the_weights_that_towers_without_interests_had(dataset: Dataset) -> None:
    names = made(dataset, replace(SMALL, num_interests=1, age_share=0.0)).state_dict()
    assert not [name for name in names if "taste" in name]
    assert names["members.0.users.out.1.weight"].shape == (16, 16)


def test_members_and_interests_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.num_interests: 2 with num_members=2; expected 1"):
        replace(SMALL, num_members=2, num_interests=2)


def test_layers_see_no_padding(dataset: Dataset, towers: TwoTower) -> None:
    sizes: list[int] = []
    lengths = np.array([0, 1, 6, 2, 5, 4])
    history = dataset.history.first(np.resize(lengths, len(dataset.history)))
    profiles = towers.encoder.encode_profiles(dataset.profile_table, dataset.country)
    batch = query_batch(history, np.full(len(history), 2**31), profiles, 6)
    users = towers.get_submodule("members.0.users")
    hooks = [
        layer.register_forward_hook(lambda _m, given, _o: sizes.append(len(given[0])))
        for layer in users.modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.LayerNorm)
    ]
    with torch.inference_mode():
        towers(batch, item_vectors(dataset, towers))
    for hook in hooks:
        hook.remove()
    assert set(sizes) == {history.num_events + len(history)}


def test_a_share_of_the_events_is_not_shown_in_training_alone(dataset: Dataset) -> None:
    towers = made(dataset, replace(SMALL, event_dropout=0.5, dropout=0.0, id_dropout=0.0))
    item = item_vectors(dataset, towers)
    profiles = towers.encoder.encode_profiles(dataset.profile_table, dataset.country)
    batch = query_batch(dataset.history, np.full(len(dataset.history), 2**31), profiles, 6)
    with torch.inference_mode():
        shown = [towers(batch, item) for _ in range(2)]
        towers.train()
        dropped = [towers(batch, item) for _ in range(2)]
    torch.testing.assert_close(*shown, rtol=0, atol=0)
    assert (dropped[0] - dropped[1]).abs().max() > 1e-2
    # The start token is always there.
    torch.testing.assert_close(dropped[0].view(-1, 7, 16)[:, 0], shown[0].view(-1, 7, 16)[:, 0])


def test_no_queries_give_no_vectors(dataset: Dataset, towers: TwoTower) -> None:
    asked = Queries(Histories.empty(0), np.zeros(0, np.int64), np.zeros(0, "<U2"))
    assert towers.encode(asked, item_vectors(dataset, towers)).shape == (0, 16)


def test_an_unknown_title_is_embedded_from_its_metadata(dataset: Dataset, towers: TwoTower) -> None:
    known = dataset.items.slice(0, 1).to_pylist()[0]
    columns: dict[str, object] = {name: [value] for name, value in known.items()}
    fresh = table(ITEMS, columns | {"item_id": ["fresh"]})
    bare = table(ITEMS, {"item_id": ["bare"], "title": ["Bare"]})
    vector = towers.embed(towers.encoder.encode(fresh))[0]
    assert np.isfinite(towers.embed(towers.encoder.encode(bare))).all()
    original = item_vectors(dataset, towers)[0].numpy()
    other = towers.embed(towers.encoder.encode(bare))[0]
    assert vector @ original > other @ original


def test_an_export_comes_back_the_same(dataset: Dataset, each: TwoTower, tmp_path: Path) -> None:
    save_towers(each, tmp_path)
    again = load_towers(tmp_path)
    item = item_vectors(dataset, each)
    np.testing.assert_array_equal(item.numpy(), item_vectors(dataset, again).numpy())
    asked = queries_of(dataset)
    np.testing.assert_array_equal(each.encode(asked, item), again.encode(asked, item))


def test_a_fingerprint_tells_two_towers_apart(dataset: Dataset, towers: TwoTower, tmp_path: Path) -> None:
    save_towers(towers, tmp_path / "one")
    save_towers(towers, tmp_path / "copy")
    torch.manual_seed(1)
    save_towers(TwoTower(SMALL, towers.encoder), tmp_path / "other")
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "copy")
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "other")


def test_a_missing_a_newer_and_a_mismatched_export_are_refused(towers: TwoTower, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"train\.py"):
        load_towers(tmp_path)
    save_towers(towers, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(description | {"format_version": 99}))
    with pytest.raises(ReleaseError, match=r"format_version is 99; expected 4, which scripts/train"):
        load_towers(tmp_path)
    description["settings"]["num_layers"] = 1
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ReleaseError, match=r"towers\.safetensors"):
        load_towers(tmp_path)


def test_a_width_that_the_heads_cannot_share_is_refused(towers: TwoTower) -> None:
    with pytest.raises(ConfigError, match=r"model\.dim: 18"):
        TwoTower(ModelSettings(dim=18, num_heads=4), towers.encoder)


def test_weights_that_are_not_there_are_named_with_what_to_do(towers: TwoTower, tmp_path: Path) -> None:
    save_towers(towers, tmp_path)
    (tmp_path / "towers.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"towers\.safetensors: .*scripts/train\.py"):
        load_towers(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "towers.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_named(
    name: str, share: float, towers: TwoTower, tmp_path: Path
) -> None:
    save_towers(towers, tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ReleaseError, match=rf"^{tmp_path / name}: .*expected"):
        load_towers(tmp_path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff", b"null"])
def test_a_description_that_is_no_json_object_is_refused(
    content: bytes, towers: TwoTower, tmp_path: Path
) -> None:
    save_towers(towers, tmp_path)
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"model\.json: .*expected"):
        load_towers(tmp_path)


GONE = object()


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (("settings",), GONE, "has no 'settings'"),
        (("settings",), [], "settings: list"),
        (("settings", "depth"), 3, "'depth'"),
        (("settings", "dim"), GONE, "settings: "),
        (("settings", "dim"), "16", r"settings\.dim: '16'; expected int"),
        (("settings", "dim"), 18, r"model\.dim: 18"),
        (("settings", "dropout"), 2.0, r"settings\.dropout: 2\.0 is out of range"),
        (("clock",), GONE, "has no 'clock'"),
        (("clock", "num_knots"), 2.5, r"clock\.num_knots: 2\.5"),
        (("clock", "num_knots"), 0, "0 knots"),
        (("ages",), GONE, "has no 'ages'"),
        (("ages", "end_seconds"), 0, "ages: 4 ticks from"),
        (("ages", "num"), 16, r"model\.age_share: 16 ticks"),
        (("encoder",), GONE, "has no 'encoder'"),
        (("encoder",), None, "NoneType"),
        (("encoder", "profiles"), GONE, "has no 'profiles'"),
        (("encoder", "items", "scales"), {}, "features.items: scales are of"),
        (("encoder", "items", "scales", "rating"), [1.0], "not enough values"),
        (("encoder", "items", "vocabularies"), [], "features.items: vocabularies are of"),
        (("encoder", "items", "vocabularies", "genres"), ["a", "a"], "more than once"),
        (("encoder", "items", "features", 0, "kind"), "lottery", r"features\.items\[0\]\.kind: 'lottery'"),
        (("encoder", "items", "features", 1, "rule"), GONE, r"features\.items\[1\]: "),
        (("encoder", "items", "features", 1, "column"), "cost", r"features\.items\[1\]\.column: 'cost'"),
        (("encoder", "profiles", "features", 0, "column"), "profile_id", r"features\.profiles\[0\]\.column"),
    ],
)
def test_a_description_with_a_damaged_part_is_refused(
    keys: tuple[str | int, ...], value: object, complaint: str, towers: TwoTower, tmp_path: Path
) -> None:
    save_towers(towers, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    part = description
    for key in keys[:-1]:
        part = part[key]
    if value is GONE:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ReleaseError, match=rf"^{tmp_path}/model\.json: .*({complaint}).*expected"):
        load_towers(tmp_path)
