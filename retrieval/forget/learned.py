"""Which models learned from profiles that are forgotten since: known by the tables that they learned from."""

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from retrieval.forget.receipt import Place
from towers.data.privacy.state import LEARNED_FROM
from towers.errors import IntegrityError
from towers.exported import TRAINING_FILE, read_context
from towers.folders import replace_file

log = logging.getLogger(__name__)

STATES_FILE = "erased_tables.json"
"""Beside the receipts: the state of all tables that held a forgotten profile, and since when it is one."""


def note_tables(path: Path, state: str, since: datetime) -> None:
    """Notes that tables in this state held a profile that is forgotten since; before they are changed."""
    states = _read(path)
    states.setdefault(state, since.isoformat())
    replace_file(path, json.dumps(states, indent=1) + "\n")


def models_to_retrain(artifacts: Path, path: Path, days: float) -> list[Place]:
    """The exports below the artifacts that learned from such tables, and until when each must be replaced.

    An export that does not say what it learned from is judged by when it was written: before the tables were
    erased. Its weights hold nobody's id, but what was learned from everybody's history.
    """
    states = _read(path)
    if not states:
        return []
    places = []
    erased_at = path.stat().st_mtime
    for found in sorted(artifacts.rglob(TRAINING_FILE)):
        context = read_context(found.parent)
        state = context.get(LEARNED_FROM)
        if state is None and found.stat().st_mtime <= erased_at:
            since = min(states.values())
        elif state in states:
            since = states[state]
        else:
            continue
        due = datetime.fromisoformat(since) + timedelta(days=days)
        where = found.parent.relative_to(artifacts).as_posix()
        places.append(Place(where, "to be trained anew", due=due.isoformat()))
    return places


def remove_checkpoints(artifacts: Path) -> list[Place]:
    """Removes the checkpoints of all trainings: none of them can go on with tables that have changed."""
    found = sorted(artifacts.rglob("*.ckpt"))
    for path in found:
        path.unlink()
        log.info("checkpoint removed path=%s", path)
    return [Place(path.relative_to(artifacts).as_posix(), "removed") for path in found]


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(f"{path}: {error}; expected JSON") from error
    if not isinstance(read, Mapping) or not all(isinstance(when, str) for when in read.values()):
        raise IntegrityError(f"{path}: expected moments by the state of tables")
    return dict(read)
