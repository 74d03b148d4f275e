"""What a candidate must pass as it will be served, beside the release that is current.

Each gate is a function of what was measured, giving value, bound and verdict. Where nothing can be compared
(no release is current, or too few questions tell), a gate has no value and stops nothing.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from retrieval.release.answered import Answered, answered, cpu_milliseconds
from retrieval.release.footprint import memory_bytes
from retrieval.release.gates import Gate, GateSettings, LiveBounds, gate, not_measured
from retrieval.release.manifest import GateResult
from retrieval.release.read import Known, Release, read_parts, read_release
from retrieval.release.store import ReleaseInfo, current
from retrieval.release.title_gates import Titled
from retrieval.release.verify import Verify
from towers.data.dataset import Dataset
from towers.data.privacy.sealed import StoreKeys
from towers.data.privacy.state import LEARNED_FROM, state_of
from towers.data.split import HeldOut, sampled_test, split_of
from towers.data.vocabulary import Vocabulary
from towers.errors import ReleaseError, StoreKeyError
from towers.evaluation.bootstrap import paired_bootstrap
from towers.evaluation.promise import MEASURED, Promise, promise_of

log = logging.getLogger(__name__)

_MIN_QUESTIONS = 100
"""Fewer say too little of a quality or of what is shown."""
_QUALITY_LEVEL = 0.98
"""Of the interval of a loss: as its upper end is looked at alone, one equal release in a hundred is below."""
_FREE_MS, _FREE_MIB = 5.0, 64.0
"""What is cheaper than this may be any number of times as dear as the live release."""


class Placed(NamedTuple):
    """An opened release and the folder of its files."""

    release: Release
    folder: Path


def live_release(root: Path, store_keys: StoreKeys | None = None) -> Placed | None:
    """The release that is current; None where there is none, or where it is damaged, which is logged.

    What is there cannot be made better by refusing what takes its place. One that is sealed under a key that
    was not given is not damaged: StoreKeyError, as nothing may take its place that was compared with none.
    """
    release_id = current(root)
    if release_id is None:
        return None
    return _placed(root / release_id, lambda: read_release(root / release_id, Verify.SAMPLED, store_keys))


def placed(
    live: ReleaseInfo, store_keys: StoreKeys | None = None, known: Known | None = None
) -> Placed | None:
    """As `live_release`, of one that was verified: its files are not hashed again. known: of `read_parts`."""
    about = live.manifest.description
    return _placed(live.folder, lambda: read_parts(live.folder, live.release_id, about, store_keys, known))


def _placed(folder: Path, read: Callable[[], Release]) -> Placed | None:
    try:
        return Placed(read(), folder)
    except StoreKeyError:
        raise
    except (ReleaseError, OSError) as error:
        log.error("live release cannot be opened, so the candidate is compared with none error=%s", error)
        return None


def held_out_questions(
    dataset: Dataset, context: Mapping[str, Any], settings: GateSettings
) -> HeldOut | None:
    """Test questions of the split that a model was trained under; None where its context names no split."""
    if "split" not in context:
        return None
    return sampled_test(dataset, split_of(context), settings.live.num_questions)


def promised(
    dataset: Dataset, context: Mapping[str, Any], tables_dir: Path, dimension: int | None
) -> Promise | None:
    """What a training measured, and of which questions; None where something else is to be served.

    dataset: of tables_dir. dimension: of vectors that are cut. Of newer tables, and by shorter vectors, other
    answers are given; and older trainings did not say what they measured.
    """
    if MEASURED not in context or dimension is not None or context.get(LEARNED_FROM) != state_of(tables_dir):
        return None
    return promise_of(context, dataset, split_of(context))


def trained_quality(
    release: Release, promise: Promise | None, catalogue: Vocabulary, least: float
) -> GateResult:
    """nDCG@10 of the training's own questions as they are served, over what the training measured of them.

    catalogue: the titles in whose rows they ask. What it misses is what went wrong in between: towers of two
    trainings, inputs that are read another way.
    """
    if promise is None or len(promise.asked) < _MIN_QUESTIONS or promise.ndcg == 0.0:
        return not_measured(Gate.TRAINED_QUALITY, ">=", least)
    row = catalogue.rows_in(release.catalogue.vocabulary)
    found = float(answered(release, promise.asked, row).ndcg.mean())
    return gate(Gate.TRAINED_QUALITY, found / promise.ndcg, ">=", least)


def answers_of(
    candidate: Release, live: Release | None, asked: HeldOut | None, found: Titled
) -> tuple[Answered | None, Answered | None]:
    """What both answer to held-out questions, of which there are enough; None where nobody answers.

    asked: None where the candidate was trained on everything. found: the rows of the titles that they are of.
    """
    if asked is None or len(asked) < _MIN_QUESTIONS:
        return None, None
    own = answered(candidate, asked, found.row)
    if live is None or found.live_row is None:
        return own, None
    return own, answered(live, asked, found.live_row)


def served_gates(
    candidate: Placed,
    live: Placed | None,
    asked: HeldOut | None,
    settings: GateSettings,
    found: Titled,
    answers: tuple[Answered | None, Answered | None] | None = None,
) -> list[GateResult]:
    """Every gate on what will be served.

    candidate: as it is read back from its files. asked: held-out questions; None where the candidate was
    trained on everything. found: of the titles in whose rows they ask. answers: as `answers_of` gives them,
    where the caller has asked for them before.
    """
    bounds, older = settings.live, None if live is None else live.release
    own, other = answers or answers_of(candidate.release, older, asked, found)
    both = [(candidate.release, found.row)]
    if older is not None and found.live_row is not None:
        both.append((older, found.live_row))
    results = [
        *found.results,
        quality(own, other, bounds),
        coverage(own, other, bounds),
        popularity_lift(own, other, bounds),
        exposure(own, other, bounds),
    ]
    spent: list[float | None] = [None, None]
    if asked is not None and len(asked):
        spent = [*cpu_milliseconds(both, asked, settings.k), None][:2]
    results.append(
        within(Gate.LATENCY, spent[0], settings.max_latency_ms, spent[1], bounds.max_latency, _FREE_MS)
    )
    held = [
        None if each is None else (memory_bytes(each.release, each.folder) + found.unread_bytes) / 2**20
        for each in (candidate, live)
    ]
    results.append(
        within(Gate.MEMORY, held[0], settings.max_memory_mib, held[1], bounds.max_memory, _FREE_MIB)
    )
    return results


def quality(own: Answered | None, live: Answered | None, bounds: LiveBounds) -> GateResult:
    """How much better the candidate can be at most: the upper end of the paired interval, of the live nDCG.

    It stops what is sure to be worse by more than the bound; what may be as good passes.
    """
    least = -bounds.max_quality_loss
    if own is None or live is None or not live.ndcg.any():
        return not_measured(Gate.QUALITY, ">=", least)
    return gate(Gate.QUALITY, _most_gain(own.ndcg, live.ndcg), ">=", least)


def coverage(own: Answered | None, live: Answered | None, bounds: LiveBounds) -> GateResult:
    """The share of its catalogue that the candidate shows, over the live one's of its own."""
    if own is None or live is None or live.coverage == 0.0:
        return not_measured(Gate.COVERAGE, ">=", bounds.min_coverage)
    return gate(Gate.COVERAGE, own.coverage / live.coverage, ">=", bounds.min_coverage)


def popularity_lift(own: Answered | None, live: Answered | None, bounds: LiveBounds) -> GateResult:
    """How much more popular than what was watched the candidate's answers are, over the same of the live."""
    lifts = [None if each is None else each.popularity_lift for each in (own, live)]
    if lifts[0] is None or not lifts[1]:
        return not_measured(Gate.POPULARITY_LIFT, "<=", bounds.max_popularity_lift)
    return gate(Gate.POPULARITY_LIFT, lifts[0] / lifts[1], "<=", bounds.max_popularity_lift)


def exposure(own: Answered | None, live: Answered | None, bounds: LiveBounds) -> GateResult:
    """How evenly the candidate shows its titles (1 - Gini), over the same of the live one."""
    if own is None or live is None or live.gini >= 1.0:
        return not_measured(Gate.EXPOSURE, ">=", bounds.min_exposure)
    return gate(Gate.EXPOSURE, (1.0 - own.gini) / (1.0 - live.gini), ">=", bounds.min_exposure)


def within(
    name: Gate, value: float | None, budget: float | None, live: float | None, times: float, free: float
) -> GateResult:
    """A cost within its budget; without one at most so many times the live one's, or what is free."""
    bound = budget if budget is not None else None if live is None else max(free, times * live)
    if bound is None or (value is None and budget is None):
        return GateResult(name.value, value, "<=", bound or free, passed=True)
    return gate(name, value, "<=", bound)


def _most_gain(own: Float64[np.ndarray, " Q"], live: Float64[np.ndarray, " Q"]) -> float:
    found = paired_bootstrap(own, live, level=_QUALITY_LEVEL)
    return found.high / float(live.mean())
