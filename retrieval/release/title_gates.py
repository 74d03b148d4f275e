"""The gates on the titles of a candidate and what may be shown of them, beside those of the live release."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.licences import Licences
from retrieval.release.eligibility_gates import (
    Shown,
    eligibility_parity,
    share_available,
    share_changed,
    share_watched_unlicensed,
)
from retrieval.release.gates import Gate, GateSettings, LiveBounds, gate, not_measured
from retrieval.release.manifest import GateResult
from retrieval.release.read import Release
from towers.data.dataset import Dataset
from towers.data.days import SECONDS_PER_DAY
from towers.data.vocabulary import OOV


@dataclass(frozen=True, slots=True)
class Titled:
    """What is known of titles before anybody is asked for them.

    results: those of `title_gates`. row, live_row: int64 (n,), where each title of the questions stands in
    the candidate and in the live release, OOV where it does not. unread_bytes: what the titles take in the
    memory of either, where they were not read.
    """

    results: Sequence[GateResult]
    row: Int64[np.ndarray, " n"]
    live_row: Int64[np.ndarray, " n"] | None
    unread_bytes: int = 0


def titled(release: Release, live: Release | None, dataset: Dataset, settings: GateSettings) -> Titled:
    """Of titles that were all read, row by row those of the dataset."""
    row, live_row = (
        None if each is None else dataset.catalogue.rows_in(each.catalogue.vocabulary)
        for each in (release, live)
    )
    assert row is not None
    return Titled(title_gates(of_titles(release, live, dataset), dataset, settings), row, live_row)


@dataclass(frozen=True, slots=True)
class OfTitles:
    """What was found of the titles of a candidate, beside those of the live release; None where none is live.

    parity: see `eligibility_parity`. kept: share of the live titles that it has too. shown, live: what may be
    shown of either. changed: see `share_changed`.
    """

    parity: int
    shown: Shown
    kept: float | None = None
    live: Shown | None = None
    changed: float | None = None


def title_gates(found: OfTitles, dataset: Dataset, settings: GateSettings) -> list[GateResult]:
    """The gates on titles and what may be shown of them, which nobody need be asked for."""
    bounds, live = settings.live, found.live
    return [
        gate(Gate.ELIGIBILITY_PARITY, found.parity, "==", 0),
        watched_unlicensed(share_watched_unlicensed(dataset), settings.max_watched_unlicensed),
        titles_kept(found.kept, bounds),
        days_behind(
            found.shown.profiles.as_of_seconds, None if live is None else live.profiles.as_of_seconds, bounds
        ),
        available(share_available(found.shown), None if live is None else share_available(live), bounds),
        licences_changed(found.changed, bounds),
    ]


def of_titles(release: Release, live: Release | None, dataset: Dataset) -> OfTitles:
    """What is found of all titles of a release, row by row those of the dataset."""
    eligibility = Eligibility(release.catalogue)
    now = int(dataset.history.time_seconds.max(initial=0))
    parity = eligibility_parity(eligibility, dataset.items, now)
    shown = Shown(eligibility.licences, release.catalogue.rows, release.profiles)
    if live is None:
        return OfTitles(parity, shown)
    before = Shown(Licences(live.catalogue.table["licences"]), live.catalogue.rows, live.profiles)
    there = live.catalogue.vocabulary.rows_in(release.catalogue.vocabulary)
    both = np.flatnonzero(there != OOV)
    changed = share_changed(replace(shown, row=there[both]), replace(before, row=both))
    kept = len(both) / len(live.catalogue) if len(live.catalogue) else None
    return OfTitles(parity, shown, kept, before, changed)


def watched_unlicensed(share: float | None, most: float) -> GateResult:
    """The share of the newest events whose title has no licence there and then, by the candidate's table."""
    if share is None:
        return not_measured(Gate.WATCHED_UNLICENSED, "<=", most)
    return gate(Gate.WATCHED_UNLICENSED, share, "<=", most)


def titles_kept(share: float | None, bounds: LiveBounds) -> GateResult:
    """The share of the live titles that the candidate has too."""
    if share is None:
        return not_measured(Gate.TITLES_KEPT, ">=", bounds.min_titles_kept)
    return gate(Gate.TITLES_KEPT, share, ">=", bounds.min_titles_kept)


def days_behind(own_seconds: int, live_seconds: int | None, bounds: LiveBounds) -> GateResult:
    """By how many days the candidate's newest event is older than the live one's; negative where newer."""
    if live_seconds is None:
        return not_measured(Gate.DAYS_BEHIND, "<=", bounds.max_days_behind)
    return gate(
        Gate.DAYS_BEHIND, (live_seconds - own_seconds) / SECONDS_PER_DAY, "<=", bounds.max_days_behind
    )


def available(own: float | None, live: float | None, bounds: LiveBounds) -> GateResult:
    """The share of titles that viewers may be shown at the newest event, over the live one's at its own."""
    if own is None or not live:
        return not_measured(Gate.AVAILABLE, ">=", bounds.min_available)
    return gate(Gate.AVAILABLE, own / live, ">=", bounds.min_available)


def licences_changed(share: float | None, bounds: LiveBounds) -> GateResult:
    """The share of titles and countries of which the candidate says another past than the live release."""
    if share is None:
        return not_measured(Gate.LICENCES_CHANGED, "<=", bounds.max_licences_changed)
    return gate(Gate.LICENCES_CHANGED, share, "<=", bounds.max_licences_changed)
