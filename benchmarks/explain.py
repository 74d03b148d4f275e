"""Claim `explain`: the titles that are named as causes are causes, and a title's facts add up to its score.

Towers of ml-latest-small, trained as scripts/train.py does. Profiles spread over all are each recommended a
title, which is explained. Then the titles named are taken out of the history, and as many others by chance;
that is done a few times, and their mean is what is compared, profile by profile. The p-value is that of
flipping the signs of the differences. It says that what is named is not chance; that it is what counts most
is so by construction, as every title is left out in turn.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float64

from benchmarks.measurement import Measurement
from benchmarks.movielens_small import FOLDERS, data_overrides
from benchmarks.stages import run_script
from retrieval.explain import without_each
from retrieval.release.read import Release, read_release
from retrieval.retriever import Retriever
from towers.evaluation.significance import sign_flip

_NUM_PROFILES, _NUM_ATTRIBUTED, _DRAWS = 500, 200, 10
# A title by chance is another than those named, so there are more than these to draw from.
_MIN_WATCHED = 8


@dataclass(frozen=True, slots=True)
class Deletion:
    """Of each profile, by how much the score of a title falls without those named, and without others.

    places, places_by_chance: how many places the title falls among all that were not watched.
    """

    named: Float64[np.ndarray, " P"]
    by_chance: Float64[np.ndarray, " P"]
    places: Float64[np.ndarray, " P"]
    places_by_chance: Float64[np.ndarray, " P"]
    num_causes: Float64[np.ndarray, " P"]


def measure() -> Measurement:
    """The two figures; minutes of training, then a minute."""
    with TemporaryDirectory() as folder:
        where = f"artifacts={Path(folder, 'movielens')}"
        run_script("train", *data_overrides(), where)
        run_script("build_index", where)
        return measured(Path(folder, "movielens", "releases"), _NUM_PROFILES, _NUM_ATTRIBUTED)


def measured(releases: Path, num_profiles: int, num_attributed: int) -> Measurement:
    """The figures of the current release of a root."""
    release = read_release(releases)
    found = deletion(release, num_profiles, seed=0)
    errors, shares = attribution_errors(Retriever(release), num_attributed)
    return Measurement(
        figures={
            "deletion_p_value": sign_flip(found.named, found.by_chance, num_flips=100_000),
            "completeness_error": float(max(errors)),
        },
        data=f"{' + '.join(FOLDERS.values())}; {len(found.named)} profiles, {len(errors)} attributions",
        seeds=(0,),
        details={
            "mean drop of the score, named and by chance": [
                round(float(found.named.mean()), 4),
                round(float(found.by_chance.mean()), 4),
            ],
            "mean fall in places, named and by chance": [
                round(float(found.places.mean()), 1),
                round(float(found.places_by_chance.mean()), 1),
            ],
            "share of profiles where the named count more": round(
                float((found.named > found.by_chance).mean()), 4
            ),
            "mean causes named": round(float(found.num_causes.mean()), 2),
            "mean size of a column's share": shares,
        },
    )


def deletion(release: Release, num_profiles: int, seed: int) -> Deletion:
    """Deletions of the first title that each of so many profiles is recommended, where a cause is named."""
    rng, retriever = np.random.default_rng(seed), Retriever(release)
    rows = np.flatnonzero(release.profiles.history.lengths >= _MIN_WATCHED)
    chosen = rows[np.linspace(0, len(rows) - 1, min(num_profiles, len(rows))).astype(np.int64)]
    found = []
    for profile in chosen.tolist():
        profile_id = release.profiles.profiles.ids[profile]
        (item_id,) = retriever.recommend(profile_id, k=1).item_id
        explained = retriever.explain(item_id, profile_id)
        named = release.catalogue.vocabulary.rows([cause.item_id for cause in explained.causes])
        query = retriever.questions(profile, profile + 1)
        others = np.setdiff1d(query.history.item_row, named)
        if not len(named) or len(others) < len(named):
            continue
        chance = np.stack([rng.choice(others, len(named), replace=False) for _ in range(_DRAWS)])
        row = release.catalogue.vocabulary.row(item_id)
        drop = explained.score - without_each(release, query, np.vstack([named, chance]), row)
        place = [_place(retriever, profile_id, item_id, gone) for gone in (named, *chance)]
        found.append((drop[0], drop[1:].mean(), place[0], np.mean(place[1:]), len(named)))
    return Deletion(*np.array(found, np.float64).T)


def _place(retriever: Retriever, profile_id: str, item_id: str, gone: np.ndarray) -> int:
    """The place of a title, from 0, where these are gone from the history, the watched ones left out."""
    profile = retriever.profile_ids.index(profile_id)
    query = retriever.questions(profile, profile + 1)
    exact = retriever.exact()
    assert exact is not None
    kept = ~np.isin(query.history.item_row, gone)
    watched = set(query.history.item_row.tolist())
    without = type(query)(query.history.only(kept), query.time_seconds, query.country, query.profiles)
    ranked = exact.rank(without, len(retriever.items)).item_row[0].tolist()
    row = retriever.items.vocabulary.row(item_id)
    return [one for one in ranked if one not in watched].index(row)


def attribution_errors(retriever: Retriever, num: int) -> tuple[list[float], dict[str, float]]:
    """By how much the attributions of so many titles miss what they add up to; mean sizes of the shares."""
    watched = [one for one in retriever.profile_ids if retriever.history(one)]
    errors: list[float] = []
    sizes: dict[str, list[float]] = {}
    for turn in range(num):
        profile_id = watched[turn * len(watched) // num]
        # Not the best alone: the turn's place among the first.
        item_id = retriever.recommend(profile_id, k=turn % 50 + 1).item_id[-1]
        found = retriever.explain(item_id, profile_id, metadata=True).metadata
        assert found is not None
        errors.append(found.error)
        for one in found.shares:
            sizes.setdefault(one.column, []).append(abs(one.share))
    means = {column: float(np.mean(each)) for column, each in sizes.items()}
    return errors, {column: round(means[column], 4) for column in sorted(means, key=means.__getitem__)[::-1]}
