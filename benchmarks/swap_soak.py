"""Claim `swap-soak`: releases are swapped under load, and no answer is lost, mixed or late.

Four threads ask without a pause while a follower takes one release after another: two of different towers and
event counts in turn, each opened, verified in full and warmed as any new one. What each release answers is
known beforehand, and every answer is held against that of the release it names. A query that overlaps a
swap, or the quarter of a second after it, is one of those during swaps; the others, between the same swaps
under the same load, are the steady ones.

SWAP_SOAK_MINUTES=60 makes it an hour; a swap begins every three seconds.
"""

import itertools
import math
import os
import shutil
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.claims import BenchmarkError
from benchmarks.environment import BENCH
from benchmarks.measurement import Measurement
from benchmarks.stages import on_cores
from retrieval.eligibility.rules import Available
from retrieval.following import Following, Swap
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings, LiveBounds
from retrieval.release.operations import roll_back
from retrieval.release.store import release_ids
from retrieval.release.verify import Verify
from retrieval.retriever import Ranking, Retriever
from towers.data.dataset import read_dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.ingest.rules import RuleSettings
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import ingest_source
from towers.data.sources.simulated import SimulatedSettings
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

NUM_ITEMS, NUM_EVENTS = 10_000, 200_000
NUM_THREADS, NUM_PROFILES, K = 4, 250, 50
MINUTES, SWAP_EVERY_SECONDS = 10.0, 2.9
_AFTER_SECONDS = 0.25
_VERSION = 1


def measure() -> Measurement:
    """Ten minutes, or as many as SWAP_SOAK_MINUTES says."""
    minutes = float(os.environ.get("SWAP_SOAK_MINUTES", MINUTES))
    service = SimulatedSettings(num_events=NUM_EVENTS, num_items=NUM_ITEMS)
    return measured(made(service, BENCH / "swap-soak"), 60.0 * minutes)


def measured(root: Path, seconds: float) -> Measurement:
    """The figures of so many seconds over a copy of the releases of a root."""
    with TemporaryDirectory() as name, on_cores(2):
        releases = Path(name, "releases")
        shutil.copytree(root, releases)
        torch.set_num_threads(1)
        found = soak(releases, seconds, SWAP_EVERY_SECONDS)
    during, steady = (np.array(each) for each in (found.during_ms, found.steady_ms))
    if not (len(during) and len(steady)):
        raise BenchmarkError(f"{len(during)} answers during swaps and {len(steady)} between; expected some")
    p99 = [float(np.percentile(each, 99)) for each in (during, steady)]
    return Measurement(
        figures={
            "swaps": len(found.swaps),
            "failed": len(found.failed),
            "mixed": found.num_mixed,
            "p99_over_steady": round(p99[0] / p99[1], 3),
        },
        data=f"{NUM_ITEMS:,} simulated titles, {NUM_THREADS} threads on two cores, {seconds / 60:g} minutes",
        seeds=(0, 1),
        details={
            "answers": len(during) + len(steady),
            "answers during swaps": len(during),
            "during swaps, ms": _percentiles(during),
            "steady, ms": _percentiles(steady),
            "swap seconds": _percentiles(np.array([swap.seconds for swap in found.swaps])),
            "MiB with one release, and with both": _memory(found.swaps),
            "memory slope, % an hour, of the later half": memory_slope(found.resident, seconds),
            "failed": found.failed[:3],
        },
    )


@dataclass(slots=True)
class Soaked:
    """What came of a soak: milliseconds of answers, faults, swaps and (second, resident bytes) samples."""

    during_ms: list[float] = field(default_factory=list)
    steady_ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    num_mixed: int = 0
    swaps: list[Swap] = field(default_factory=list)
    resident: list[tuple[float, int]] = field(default_factory=list)


Question = Callable[[Retriever], Ranking]


def soak(root: Path, seconds: float, every_seconds: float) -> Soaked:
    """Asks from all threads for so long, while the releases of the root take turns."""
    ids = release_ids(root)
    first = Retriever.open(root / ids[0], Verify.TRUSTED)
    asked = questions(first)
    known = {release_id: answers(Retriever.open(root / release_id), asked) for release_id in ids}
    if known[ids[0]] == known[ids[1]]:
        raise BenchmarkError(f"{root}: {ids[0]} and {ids[1]} answer alike; expected different answers")
    del first
    alarms: list[str] = []
    following = Following(root, alarm=lambda release_id, error: alarms.append(f"{release_id}: {error}"))
    ended = threading.Event()
    each = [_Asker(following, asked, known, ended, seed) for seed in range(NUM_THREADS)]
    threads = [threading.Thread(target=asker.run) for asker in each]
    for thread in threads:
        thread.start()
    found = Soaked()
    spans = [(-math.inf, -math.inf)]  # before the first swap
    begun = time.perf_counter()
    for turn in itertools.count(1):
        _sleep_until(begun + turn * every_seconds)
        if time.perf_counter() - begun > seconds:
            break
        roll_back(root, ids[(ids.index(following.retriever.release_id) + 1) % len(ids)], Verify.TRUSTED)
        start = time.perf_counter()
        swapped = following.refresh()
        spans.append((start, time.perf_counter() + _AFTER_SECONDS))
        if swapped and following.last_swap is not None:
            found.swaps.append(following.last_swap)
            held = following.last_swap.resident_bytes
            if held is not None:
                # What the soak itself writes down grows with its answers.
                own = sum(asker.spans.itemsize * len(asker.spans) for asker in each)
                found.resident.append((time.perf_counter() - begun, held[0] - own))
    ended.set()
    for thread in threads:
        thread.join()
    found.failed += alarms
    since, until = np.array(spans).T
    for asker in each:
        found.failed += asker.failed
        found.num_mixed += asker.num_mixed
        asked_at, answered_at = np.frombuffer(asker.spans).reshape(-1, 2).T
        # The last swap that begins before an answer ends is the one it may overlap.
        last = np.searchsorted(since, answered_at) - 1
        overlaps = asked_at < until[last]
        found.during_ms += (1e3 * (answered_at - asked_at)[overlaps]).tolist()
        found.steady_ms += (1e3 * (answered_at - asked_at)[~overlaps]).tolist()
    return found


class _Asker:
    """Asks one question after another, and holds every answer against what is known."""

    def __init__(
        self,
        following: Following,
        asked: Sequence[Question],
        known: Mapping[str, Sequence[tuple[str, ...]]],
        ended: threading.Event,
        seed: int,
    ) -> None:
        self._following, self._asked, self._known, self._ended = following, asked, known, ended
        self._order = np.random.default_rng(seed).permutation(len(asked)).tolist()
        self.spans: array[float] = array("d")
        self.failed: list[str] = []
        self.num_mixed = 0

    def run(self) -> None:
        """Until it is ended."""
        for line in itertools.cycle(self._order):
            if self._ended.is_set():
                return
            start = time.perf_counter()
            try:
                retriever = self._following.retriever
                answer = self._asked[line](retriever)
            except Exception as error:  # whatever it is, an answer was lost
                self.failed.append(repr(error))
                continue
            self.spans.extend((start, time.perf_counter()))
            whole = answer.item_id == self._known[answer.release_id][line]
            self.num_mixed += not (whole and answer.release_id == retriever.release_id)
            del retriever, answer  # what waits for its turn holds no release


def questions(retriever: Retriever) -> list[Question]:
    """What is asked: recommendations, with a rule and without, similar titles, searches."""
    ids, now = retriever.profile_ids, retriever.as_of_seconds
    chosen = [ids[place] for place in np.linspace(0, len(ids) - 1, NUM_PROFILES).astype(int).tolist()]
    item_ids = retriever.items.vocabulary.ids
    asked: list[Question] = []
    for line, profile_id in enumerate(chosen):
        item_id = item_ids[line * len(item_ids) // len(chosen)]
        title = retriever.items[item_id].title
        rule = Available(("DE", "FR", "GB", "US")[line % 4], now)

        def plain(it: Retriever, who: str = profile_id) -> Ranking:
            return it.recommend(who, k=K)

        def ruled(it: Retriever, who: str = profile_id, what: Available = rule) -> Ranking:
            return it.recommend(who, k=K, rule=what)

        def similar(it: Retriever, which: str = item_id) -> Ranking:
            return it.similar(which, k=K)

        def search(it: Retriever, text: str = title, who: str = profile_id) -> Ranking:
            return it.search(text, profile_id=who, k=10)

        asked += [plain, ruled, similar] if line % 5 else [plain, ruled, similar, search]
    return asked


def answers(retriever: Retriever, asked: Sequence[Question]) -> list[tuple[str, ...]]:
    """What a release answers to each question."""
    return [question(retriever).item_id for question in asked]


def made(service: SimulatedSettings, root: Path) -> Path:
    """The root of two releases over one service, made where there is none; towers that learned nothing.

    They cost what trained ones do, and two seeds answer differently.
    """
    folder = root / f"{service.items}-{service.num_events}-{_VERSION}"
    releases = folder / "releases"
    if (folder / "done").is_file():
        return releases
    shutil.rmtree(folder, ignore_errors=True)
    ingest_source(service, folder / "tables", RuleSettings(), SignalSettings(), None)
    dataset = read_dataset(folder / "tables", SignalSettings())
    parts = split(dataset, SplitSettings())
    spec = IndexSpec(IndexKind.COMPILED, target_recall=0.95)
    # Of towers that learned nothing neither is better, and both may be worse: what they answer is not judged.
    live = replace(LiveBounds(), num_questions=0)
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoder = fit_features(*training_rows(dataset, parts), FeatureSettings())
        # Without a split named nothing is held out, and quality is not compared.
        context = {"signals": asdict(SignalSettings())}
        export(TwoTower(ModelSettings(), encoder), dataset, parts, folder / "model", context=context)
        gates = GateSettings(min_recall=0.8, min_slice_recall=0.5, live=live)
        build_release(folder / "model", folder / "tables", releases, spec, gates)
    (folder / "done").touch()
    return releases


def memory_slope(resident: Sequence[tuple[float, int]], seconds: float) -> float | None:
    """By how many per cent of itself the memory grows in an hour; None of fewer than ten samples."""
    later = [(at, held) for at, held in resident if at > seconds / 2]
    if len(later) < 10:
        return None
    at, held = np.array(later).T
    return round(float(np.polyfit(at / 3600, held, 1)[0] / held.mean() * 100), 2)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.perf_counter()))


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 90, 99, 100)}


def _memory(swaps: Sequence[Swap]) -> list[float] | None:
    held = [swap.resident_bytes for swap in swaps if swap.resident_bytes is not None]
    return [round(float(each) / 2**20, 1) for each in np.median(held, axis=0)] if held else None
