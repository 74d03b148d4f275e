"""The rebuild job: looks, plans, and does the least that brings the newest tables to those who ask.

    artifacts/
      rebuild/
        tables/            the newest tables, read from the source by this job
        order_of.parquet   the titles in whose order they are read, meanwhile
        export/            vectors of a build under way, taken up again where it was stopped
        summary.json       how the last run went
        durations.json     what each kind of work took the last time
        .lock              held while a rebuild is under way
      tables/, model/      what the towers learned from, and the towers
      releases/            what is published

Every step replaces what was there as a whole, so that a run that is killed leaves the live release as it was
and the next one goes on: with the towers that were trained, with the vectors that were embedded.
"""

import gc
import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import pyarrow.parquet as pq

from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.capacity import Needs, Sizes, needs_of, require_capacity
from retrieval.rebuild.delta_gates import SlippedError
from retrieval.rebuild.full import build_anew, export_anew
from retrieval.rebuild.live_titles import built_items
from retrieval.rebuild.plan import Work, decide
from retrieval.rebuild.publish import publish_delta
from retrieval.rebuild.summary import Outcome, Plan, Summary
from retrieval.rebuild.survey import Asked, Survey, survey
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.linked import link, link_tree
from retrieval.release.store import ReleaseInfo, clear_leftovers, current
from towers.errors import BusyError, CapacityError, ConfigError, GateError, StorageError, TowersError
from towers.folders import only_one, replace_file, replace_folder

log = logging.getLogger(__name__)

SUMMARY_FILE, DURATIONS_FILE = "summary.json", "durations.json"
ORDER_FILE = "order_of.parquet"
_GUESSED_DIMENSION = 128


@dataclass(frozen=True, slots=True)
class Job:
    """A rebuild of the service in an artifacts folder.

    ingest: puts the newest tables into the folder that it is given, titles in the order of the live
    release's, whose file it is given too where there is one: so less of them is looked at. train: trains
    towers from artifacts/tables and exports them to artifacts/model. push: lets the current release stand in
    a remote too, where it does not yet; None where there is none.
    """

    artifacts: Path
    asked: Asked
    gates: GateSettings
    upkeep: UpkeepSettings
    ingest: Callable[[Path, Path | None], None]
    train: Callable[[], None]
    push: Callable[[], None] | None = None

    @property
    def folder(self) -> Path:
        """What belongs to rebuilds."""
        return self.artifacts / "rebuild"

    @property
    def tables(self) -> Path:
        """The newest tables."""
        return self.folder / "tables"

    @property
    def root(self) -> Path:
        """The releases."""
        return self.artifacts / "releases"


class Stopped(BaseException):
    """The process was told to end; nothing but the end of the job catches it."""


def rebuild(job: Job, *, only_plan: bool = False) -> Summary:
    """Does what is needed, and says how it went; writes the same to artifacts/rebuild/summary.json.

    only_plan: reads the newest tables and says what would be done; nothing is published. No TowersError
    leaves: each is told in the summary, and so is SIGTERM. Anything else is a fault of the program, raised.
    """
    steps = _Steps()
    try:
        with _stoppable(), _alone(job.folder), _libraries_uncollected():
            summary = _told(job, steps, only_plan=only_plan)
            replace_file(job.folder / SUMMARY_FILE, summary.to_json() + "\n")
            return summary
    except BusyError as error:
        return Summary(Outcome.BUSY, error=str(error))
    except Stopped:
        return Summary(Outcome.STOPPED, steps.plan, steps.live, seconds=steps.seconds)


def _told(job: Job, steps: "_Steps", *, only_plan: bool) -> Summary:
    """How the work went, whatever stopped it."""
    outcome, published, error_text = Outcome.FAILED, None, None
    try:
        outcome, published = _rebuilt(job, steps, only_plan=only_plan)
    except GateError as error:
        outcome, error_text = Outcome.REFUSED, str(error)
    except (StorageError, CapacityError) as error:
        outcome, error_text = Outcome.NO_ROOM, str(error)
    except TowersError as error:
        error_text = str(error)
    except Stopped:
        outcome = Outcome.STOPPED
    if error_text is not None:
        log.error("rebuild ended outcome=%s error=%s", outcome.value, error_text)
    gates = {} if published is None else {one.name: one.value for one in published.manifest.description.gates}
    release_id = None if published is None else published.release_id
    return Summary(outcome, steps.plan, steps.live, release_id, gates, steps.seconds, error_text)


def _rebuilt(job: Job, steps: "_Steps", *, only_plan: bool) -> tuple[Outcome, ReleaseInfo | None]:
    with steps.timed("clear"):
        clear_leftovers(job.root)
        steps.live, order_of = current(job.root), _order_of(job)
    with steps.timed("ingest"):
        try:
            job.ingest(job.tables, order_of)
        finally:
            (job.folder / ORDER_FILE).unlink(missing_ok=True)
    with steps.timed("survey"):
        found = survey(job.artifacts, job.tables, job.asked)
    steps.plan = plan = _planned(job, found)
    log.info("rebuild planned work=%s because=%s", plan.work.value, "; ".join(plan.reasons))
    if only_plan:
        return Outcome.PLANNED, None
    if plan.work is Work.NOTHING:
        _pushed(job, steps)
        return Outcome.NOTHING, None
    if not plan.work.keeps_the_index:
        found = replace(found, opened=None)  # a build takes the memory
    require_capacity(plan.needs, job.folder)
    with steps.timed("publish"):
        try:
            published = _done(job, plan.work, found, steps)
        except SlippedError as slipped:
            log.info("index is built anew instead because=%s", slipped)
            reasons = (*plan.reasons, *(f"a delta was not enough: {one.value}" for one in slipped.reasons))
            needs = _needs(job, Work.REINDEX, found)
            steps.plan = plan = replace(plan, work=Work.REINDEX, reasons=reasons, needs=needs)
            found = replace(found, opened=None)
            require_capacity(needs, job.folder)
            published = _done(job, plan.work, found, steps)
    _remember(job, plan.work, steps.seconds["publish"])
    _pushed(job, steps)
    return Outcome.PUBLISHED, published


def _order_of(job: Job) -> Path | None:
    """The live titles under a name of the job's own: their release may be pruned while the source is read."""
    items, own = built_items(job.root), job.folder / ORDER_FILE
    own.unlink(missing_ok=True)
    if items is None:
        return None
    try:
        link(items, own)
    except OSError as error:  # without an order more is looked at, with the same result
        log.warning("titles are read in the order of the source error=%s", error)
        own.unlink(missing_ok=True)
        return None
    return own


def _pushed(job: Job, steps: "_Steps") -> None:
    """Where that fails, the run has failed; what it published stands here, and the next one pushes it."""
    if job.push is not None:
        with steps.timed("push"):
            job.push()


def _planned(job: Job, found: Survey) -> Plan:
    work, reasons = decide(found.facts, job.upkeep)
    counts = {} if found.changes is None else found.changes.counts()
    return Plan(work, reasons, _needs(job, work, found), counts, found.notes)


def _needs(job: Job, work: Work, found: Survey) -> Needs:
    num_titles = pq.read_metadata(job.tables / "items.parquet").num_rows
    facts = found.facts
    embedded = facts.num_new + facts.num_changed
    if work in (Work.REEMBED, Work.RETRAIN):
        embedded = num_titles
    described = facts.num_new + facts.num_described
    sizes = Sizes(num_titles, embedded, found.dimension or _GUESSED_DIMENSION, described)
    live = None if found.live is None else found.live.manifest
    return needs_of(work, sizes, live, _durations(job).get(work))


def _done(job: Job, work: Work, found: Survey, steps: "_Steps") -> ReleaseInfo:
    """The release that the work makes, published."""
    asked, export = job.asked, job.folder / "export"
    if work is Work.RETRAIN:
        with steps.timed("train"):
            _adopt(job.tables, job.artifacts / "tables")
            job.train()
        model, tables = job.artifacts / "model", job.artifacts / "tables"
        return build_release(
            model, tables, job.root, asked.index, job.gates, asked.dimension, store_keys=asked.store_keys
        )
    assert found.live is not None
    assert found.dataset is not None
    assert found.changes is not None
    assert found.model is not None
    if work.keeps_the_index:
        return publish_delta(
            job.root,
            found.live,
            found.opened,
            found.dataset,
            found.changes,
            job.gates,
            job.upkeep,
            asked.store_keys,
        )
    with steps.timed("embed"):
        known = (found.live, found.changes) if work is Work.REINDEX else None
        export_anew(export, found.model, found.context, found.dataset, known)
    return build_anew(export, job.tables, job.root, asked.index, job.gates, asked.dimension, asked.store_keys)


def _adopt(tables: Path, target: Path) -> None:
    """Lets towers learn from these tables; no file of them is copied, as none is ever changed."""
    replace_folder(target, lambda aside: link_tree(tables, aside))


def _durations(job: Job) -> dict[Work, float]:
    """Seconds that each kind of work took the last time; none where the file is not there or damaged."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        read = json.loads((job.folder / DURATIONS_FILE).read_text(encoding="utf-8"))
        return {Work(name): float(seconds) for name, seconds in read.items()}
    return {}


def _remember(job: Job, work: Work, seconds: float) -> None:
    known = {**_durations(job), work: round(seconds, 3)}
    text = json.dumps({each.value: took for each, took in known.items()})
    replace_file(job.folder / DURATIONS_FILE, text + "\n")


class _Steps:
    """What is known of a run so far."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.live: str | None = None
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the time of a block, failed or not."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One rebuild at a time; BusyError where another is under way."""
    with ExitStack() as held:
        try:
            held.enter_context(only_one(folder, "rebuild"))
        except ConfigError as error:
            raise BusyError(str(error)) from error
        yield


@contextmanager
def _libraries_uncollected() -> Iterator[None]:
    """Python looks for garbage among what is made from now on, and not in all that was imported too."""
    is_own = gc.get_freeze_count() == 0  # what the caller has frozen stays so
    if is_own:
        gc.freeze()
    try:
        yield
    finally:
        if is_own:
            gc.unfreeze()


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM raises Stopped, so that whatever is under way clears up behind itself; once."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the clearing up is not stopped again
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
