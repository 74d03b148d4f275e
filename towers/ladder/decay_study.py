"""The decay of one rung, measured: a model at every origin, followed as it ages, beside what updates it.

A model at each cut-off is fitted once. Its own windows give the frozen and the rebuilt answers, its first
window the retrained answers of the origins before it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64
from rich.console import Console
from rich.progress import Progress

from towers.data.dataset import Dataset, read_dataset
from towers.data.signals.settings import SignalSettings
from towers.data.split import HeldOut, SplitKind
from towers.errors import ConfigError
from towers.evaluation.decay import QualityMatrix
from towers.evaluation.decay_causes import DecayStudy, Variant
from towers.evaluation.evaluate import Metric, evaluate
from towers.folders import only_one
from towers.ladder.fingerprint import fingerprint
from towers.ladder.origins import (
    Origins,
    OriginSettings,
    Stocked,
    known_ids,
    lay_out,
    questions,
    released_seconds,
    split_at,
)
from towers.ladder.rungs import RungName, RungSettings, asked_like, fit_rung
from towers.recommender import Recommender
from towers.settings import bounded, check_ranges
from towers.training.settings import FitSettings

log = logging.getLogger(__name__)

SELECTING = (RungName.TOWERS, RungName.TOWERS_FUSION, RungName.BLEND)
"""The rungs that choose something by validation questions; the others learn up to the cut-off."""


@dataclass(frozen=True, slots=True)
class StudySettings:
    """rung: whose decay; a rung of the ladder.

    warm: also try a warm start, of the towers alone: from the weights of an origin, on the log up to the
    window, for `warm_epochs` epochs. It trains one model per origin and age.
    k: places of the N@k that is measured.
    serving: what stands between two retrains, and so what the curve and the schedule are of: frozen (nothing
    is done) or rebuilt (the index is).
    resume: take the answers of an earlier study of the same log and settings, model by model.
    """

    rung: RungName = RungName.TOWERS
    origins: OriginSettings = field(default_factory=OriginSettings)
    warm: bool = False
    warm_epochs: int = bounded(2, ge=1)
    k: int = bounded(10, ge=1)
    serving: Variant = Variant.FROZEN
    resume: bool = True

    @property
    def metric(self) -> str:
        """What is measured of each question."""
        return Metric.NDCG.at(self.k)


def check_study(settings: StudySettings, key: str = "study") -> None:
    """Raises ConfigError naming the key of a setting out of range, or that the rung cannot follow."""
    check_ranges(settings, key)
    if settings.warm and settings.rung is not RungName.TOWERS:
        raise ConfigError(
            f"{key}.warm: true with {key}.rung={settings.rung}; expected the towers to start from"
        )
    if settings.rung is RungName.TOWERS_FUSION:
        raise ConfigError(f"{key}.rung: {settings.rung}; expected a rung that is fitted on its own")
    if settings.serving not in (Variant.FROZEN, Variant.REBUILT):
        raise ConfigError(f"{key}.serving: {settings.serving}; expected frozen or rebuilt")


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a model of the study is made and judged by.

    tables: the folder of ingested tables. folder: of the study; answers go to answers/, towers to models/.
    """

    dataset: Dataset
    tables: Path
    signals: SignalSettings
    settings: StudySettings
    rungs: RungSettings
    towers: FitSettings
    folder: Path
    released: Int64[np.ndarray, " N"]
    origins: Origins

    @property
    def validation_days(self) -> int:
        """Days before a cut-off that are not learned from."""
        return self.settings.origins.validation_days if self.settings.rung in SELECTING else 0

    def fingerprint(self, *of: object) -> str:
        """SHA-256 over the log, the settings and what is asked: no other answers are taken for these."""
        s = self.settings
        asked = (s.rung, s.k, self.validation_days, self.origins.window_seconds, of)
        return fingerprint(self.tables, (self.signals, self.rungs, self.towers), asked)


def measure_decay(
    tables: Path,
    signals: SignalSettings,
    settings: StudySettings,
    rungs: RungSettings,
    towers: FitSettings,
    folder: Path,
) -> DecayStudy:
    """Fits a model at every cut-off, asks it at every age, and gives origins × ages of every variant.

    A title can be shown from its release on (`released_seconds`). In a window every variant but the frozen
    one has the catalogue at the window's start; the frozen one has that of its origin, and reads nothing else
    in a history. The questions of a window are those of all profiles with events in it. Raises ConfigError on
    settings that the log or the rung cannot follow.
    """
    check_study(settings)
    dataset = read_dataset(tables, signals)
    origins = lay_out(dataset.history, settings.origins, "study.origins")
    rungs = asked_like(rungs, SplitKind.GLOBAL_TIME)
    bench = Bench(
        dataset, tables, signals, settings, rungs, towers, folder, released_seconds(dataset), origins
    )
    with only_one(folder, "decay study"):
        (folder / "answers").mkdir(exist_ok=True)
        return _measured(bench)


def _measured(bench: Bench) -> DecayStudy:
    settings, origins = bench.settings, bench.origins
    ages_of = origins.ages_of()
    warm = [
        (origin, age)
        for origin in range(len(origins.origin_seconds) if settings.warm else 0)
        for age in range(1, int(origins.num_ages[origin]))
    ]
    fresh: dict[int, Mapping[str, np.ndarray]] = {}
    warmed: dict[tuple[int, int], np.ndarray] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring decay", total=len(ages_of) + len(warm))
        for place, (cutoff, num_ages) in enumerate(ages_of.items(), start=1):
            bar.update(task, description=f"cut-off {place} of {len(ages_of)}")
            fresh[cutoff] = _fresh_answers(bench, cutoff, num_ages)
            bar.advance(task)
        for origin, age in warm:
            bar.update(task, description=f"warm start of origin {origin + 1}, age {age}")
            warmed[origin, age] = _warm_answers(bench, origin, age)
            bar.advance(task)
    return _study(bench, fresh, warmed)


def _fresh_answers(bench: Bench, cutoff: int, num_ages: int) -> Mapping[str, Float64[np.ndarray, " Q"]]:
    """Quality per question of the model of a cut-off: "fresh" of its first window, "frozen-1" and so on."""
    path = bench.folder / "answers" / f"{cutoff}.npz"
    fingerprint = bench.fingerprint(cutoff, num_ages)
    # A warm start needs the towers themselves, not only what they once answered.
    needs_export = bench.settings.warm and num_ages > 1 and not (_models(bench, cutoff) / "towers").is_dir()
    if bench.settings.resume and not needs_export and (found := _read(path, fingerprint)) is not None:
        return found
    # From here on the towers that stand there may be others than those that answered.
    path.unlink(missing_ok=True)
    rung = _fitted(bench, cutoff, bench.towers, _models(bench, cutoff))
    answers = {"fresh": _quality(bench, rung, cutoff, cutoff)}
    for age in range(1, num_ages):
        start = cutoff + age * bench.origins.window_seconds
        answers[f"{Variant.FROZEN}-{age}"] = _quality(bench, rung, start, cutoff)
        answers[f"{Variant.REBUILT}-{age}"] = _quality(bench, rung, start, start)
    _write(path, fingerprint, answers)
    log.info("measured cutoff=%d num_ages=%d num_questions=%d", cutoff, num_ages, len(answers["fresh"]))
    return answers


def _warm_answers(bench: Bench, origin: int, age: int) -> Float64[np.ndarray, " Q"]:
    """Quality per question of the towers of an origin, trained on up to the window of an age."""
    cutoff, start = bench.origins.start(origin, 0), bench.origins.start(origin, age)
    path = bench.folder / "answers" / f"{cutoff}-{start}.npz"
    fingerprint = bench.fingerprint(cutoff, start, bench.settings.warm_epochs)
    if bench.settings.resume and (found := _read(path, fingerprint)) is not None:
        return found[Variant.WARM]
    trainer = replace(bench.towers.trainer, max_epochs=bench.settings.warm_epochs)
    export = _models(bench, cutoff) / "towers"
    towers = replace(bench.towers, trainer=trainer, warm_start=str(export))
    rung = _fitted(bench, start, towers, bench.folder / "models" / f"{cutoff}-{start}")
    answers = {Variant.WARM.value: _quality(bench, rung, start, start)}
    _write(path, fingerprint, answers)
    return answers[Variant.WARM]


def _models(bench: Bench, cutoff: int) -> Path:
    return bench.folder / "models" / str(cutoff)


def _fitted(bench: Bench, cutoff: int, towers: FitSettings, folder: Path) -> Recommender:
    parts = split_at(
        bench.dataset,
        cutoff,
        validation_days=bench.validation_days,
        window_seconds=bench.origins.window_seconds,
    )
    return fit_rung(bench.settings.rung, bench.dataset, parts, bench.rungs, towers, folder)


def _quality(bench: Bench, rung: Recommender, start: int, indexed: int) -> Float64[np.ndarray, " Q"]:
    """Per question of the window from `start`, over the titles released before `indexed`."""
    asked = questions(bench.dataset, start, start + bench.origins.window_seconds)
    if len(asked) == 0:
        return np.zeros(0)
    stocked = Stocked(rung, bench.released < indexed)
    s = bench.settings
    num_items = len(bench.dataset.catalogue)
    found = evaluate(stocked, asked, num_items=num_items, ks=(s.k,), name=s.rung.value, show_progress=False)
    return found.per_query(s.metric)


def _read(path: Path, fingerprint: str) -> Mapping[str, np.ndarray] | None:
    """The answers that an earlier study left; None where there are none of the same log and settings."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if str(stored["fingerprint"]) != fingerprint:
            return None
        return {name: stored[name] for name in stored.files if name != "fingerprint"}


def _write(path: Path, fingerprint: str, answers: Mapping[str, np.ndarray]) -> None:
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        np.savez(file, fingerprint=np.array(fingerprint), **dict(answers))  # type: ignore[arg-type]  # numpy's stub
    aside.replace(path)


def _study(
    bench: Bench,
    fresh: Mapping[int, Mapping[str, np.ndarray]],
    warmed: Mapping[tuple[int, int], np.ndarray],
) -> DecayStudy:
    """Means per cell, apart for questions of ids that the origin's model knew and of others."""
    origins = bench.origins
    variants = [variant for variant in Variant if variant is not Variant.WARM or bench.settings.warm]
    shape = (len(origins.origin_seconds), len(origins.age_days))
    known = {variant: _Cells.empty(shape) for variant in variants}
    unknown = {variant: _Cells.empty(shape) for variant in variants}
    for origin, num_ages in enumerate(origins.num_ages.tolist()):
        cutoff = origins.start(origin, 0)
        learned = split_at(
            bench.dataset,
            cutoff,
            validation_days=bench.validation_days,
            window_seconds=origins.window_seconds,
        )
        for age in range(num_ages):
            start = origins.start(origin, age)
            asked: HeldOut = questions(bench.dataset, start, start + origins.window_seconds)
            is_known = known_ids(asked, learned)
            for variant in variants:
                if age == 0 or variant is Variant.RETRAINED:
                    values = fresh[start]["fresh"]
                elif variant is Variant.WARM:
                    values = warmed[origin, age]
                else:
                    values = fresh[cutoff][f"{variant}-{age}"]
                known[variant].put(origin, age, values, is_known)
                unknown[variant].put(origin, age, values, ~is_known)
    return DecayStudy(
        {variant: cells.matrix(origins) for variant, cells in known.items()},
        {variant: cells.matrix(origins) for variant, cells in unknown.items()},
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """Mean and count per cell, filled one by one."""

    quality: Float64[np.ndarray, "O A"]
    num_queries: Int64[np.ndarray, "O A"]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "_Cells":
        return cls(np.full(shape, np.nan), np.zeros(shape, np.int64))

    def put(
        self, origin: int, age: int, values: Float64[np.ndarray, " Q"], counts: Bool[np.ndarray, " Q"]
    ) -> None:
        self.num_queries[origin, age] = counts.sum()
        if counts.any():
            self.quality[origin, age] = values[counts].mean()

    def matrix(self, origins: Origins) -> QualityMatrix:
        return QualityMatrix(origins.origin_seconds, origins.age_days, self.quality, self.num_queries)
