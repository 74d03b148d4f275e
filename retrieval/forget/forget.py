"""Forgets profiles: at once in serving, then wherever an artifacts folder still holds them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.control.store import CONTROLS_FILE, controls_beside
from retrieval.forget.learned import STATES_FILE, models_to_retrain, note_tables, remove_checkpoints
from retrieval.forget.receipt import Place, Receipt, read_key, write_receipt
from retrieval.forget.releases import erase_from_releases
from retrieval.forget.settings import ErasureSettings
from retrieval.profile_store import stored_table
from retrieval.release.files import PROFILES_FILE
from retrieval.release.store import current
from towers.data.privacy.forgotten import FORGOTTEN_FILE, Forgotten, add_forgotten, read_forgotten
from towers.data.privacy.pseudonyms import Pseudonyms, key_name
from towers.data.privacy.sealed import StoreKeys
from towers.data.privacy.state import state_of
from towers.errors import ConfigError, IntegrityError, MissingDataError, StoreKeyError
from towers.folders import file_aside, only_one, repair_folders
from towers.settings import check_ranges

log = logging.getLogger(__name__)

RECEIPTS_FOLDER = "receipts"
RELEASES_FOLDER = "releases"

EraseTables = Callable[[Path, Forgotten], Mapping[str, int]]
"""Takes the forgotten out of a folder of tables, and gives the rows it took out, by table."""


def forget(
    artifacts: Path,
    profile_ids: Iterable[str],
    settings: ErasureSettings,
    erase_tables: EraseTables,
    *,
    pseudonyms: Pseudonyms | None = None,
    store_keys: StoreKeys | None = None,
    now: datetime | None = None,
) -> tuple[Receipt, Path]:
    """Forgets these profiles in an artifacts folder, and goes on with those before; receipt and its path.

    profile_ids: as the service has them, or their pseudonyms; none goes on with what was begun or has become
    due. pseudonyms: the keys that artifacts were made with: a profile is then forgotten under each.
    store_keys: those that the profiles of releases may be sealed under; the newest seals what is published.

    First the list of the forgotten is on disk: from then on no Retriever answers them, and no ingest takes
    them in. Everything else is found by that list, so that it can be killed at any moment and called again,
    without any id: tables, checkpoints, whatever else holds profiles by name, controls, releases, models.
    What cannot be done at once is told with the moment it is due. No id is written anywhere.

    Raises MissingDataError where there is no such folder, ConfigError where profiles lie there under a key
    that was not given, on settings out of range, or where another erasure is under way (those asked for are
    on the list by then), StoreKeyError where the current release is sealed under a key that was not given,
    and what publishing a release raises.
    """
    check_ranges(settings, "erasure")
    if settings.signing_key is not None:
        read_key(settings.signing_key)
    asked = now or datetime.now(UTC)
    ids = list(dict.fromkeys(profile_ids))
    _check_reachable(artifacts, ids, pseudonyms, store_keys)
    releases, receipts = artifacts / RELEASES_FOLDER, artifacts / RECEIPTS_FOLDER
    names = [name for id_ in ids for name in (id_, *_pseudonyms_of(id_, pseudonyms))]
    if names:
        add_forgotten(releases / FORGOTTEN_FILE, names, asked)
        log.info("profiles suppressed num_profiles=%d", len(ids))
    with only_one(receipts, "erasure"):
        forgotten = read_forgotten(releases / FORGOTTEN_FILE)
        places = _swept(artifacts, forgotten, settings, erase_tables, store_keys, asked)
        done = now or datetime.now(UTC)
        receipt = Receipt(asked.isoformat(), done.isoformat(), len(ids), len(forgotten), places)
        path = write_receipt(receipt, receipts, settings.signing_key)
    log.info("erasure finished num_places=%d num_open=%d receipt=%s", len(places), len(receipt.open), path)
    return receipt, path


def _check_reachable(
    artifacts: Path, ids: list[str], pseudonyms: Pseudonyms | None, store_keys: StoreKeys | None
) -> None:
    """Raises what `forget` does where nobody would be found: no receipt must say that nothing was there."""
    if not artifacts.is_dir():
        raise MissingDataError(f"{artifacts}: no such folder; expected that of a service, artifacts=…")
    held = set() if pseudonyms is None else {key.name for key in pseudonyms.keys}
    if all(key_name(id_) for id_ in ids):
        return
    for folder, id_ in _some_profiles(artifacts, store_keys):
        name = key_name(id_)
        if name is not None and name not in held:
            raise ConfigError(
                f"{folder}: its profiles are pseudonyms of the key {name}, which was not given; expected "
                "key=…, the file that privacy.key named: without it nobody is found"
            )


def _some_profiles(artifacts: Path, store_keys: StoreKeys | None) -> Iterator[tuple[Path, str]]:
    """A profile of each folder of tables that stands whole, and of the release that is current."""
    for folder in _tables_below(artifacts):
        path = folder / "profiles.parquet"
        aside = any(part.startswith(".") for part in folder.relative_to(artifacts).parts)
        if path.is_file() and not aside:
            rows = next(pq.ParquetFile(path).iter_batches(1, columns=["profile_id"]), None)
            if rows is not None:
                yield folder, rows["profile_id"][0].as_py()
    release_id = current(artifacts / RELEASES_FOLDER)
    if release_id is not None:
        folder = artifacts / RELEASES_FOLDER / release_id
        # One that cannot be read is told when it is to be erased: the list comes first.
        with suppress(StoreKeyError, IntegrityError, OSError, pa.ArrowInvalid):
            for id_ in stored_table(folder / PROFILES_FILE, store_keys, ["profile_id"])["profile_id"][:1]:
                yield folder, id_.as_py()


def _swept(
    artifacts: Path,
    forgotten: Forgotten,
    settings: ErasureSettings,
    erase_tables: EraseTables,
    store_keys: StoreKeys | None,
    now: datetime,
) -> list[Place]:
    if not forgotten:
        return []
    releases, states = artifacts / RELEASES_FOLDER, artifacts / RECEIPTS_FOLDER / STATES_FILE
    places: list[Place] = []
    repair_folders(artifacts)
    for folder in _tables_below(artifacts):
        since = _since(folder / "profiles.parquet", forgotten)
        if since is not None:
            # Noted first: killed behind it, the next run knows what to train anew.
            note_tables(states, state_of(folder), since)
            places += remove_checkpoints(artifacts)
            where = folder.relative_to(artifacts).as_posix()
            places.append(Place(where, "rewritten", erase_tables(folder, forgotten)))
    for path in sorted(artifacts.rglob("*.parquet")):
        if releases not in path.parents and (num := _erase_rows(path, forgotten)):
            places.append(Place(path.relative_to(artifacts).as_posix(), "rewritten", {"rows": num}))
    controls = controls_beside(artifacts)
    if controls is not None:
        ids = controls.profile_ids()
        num = sum(controls.forget(ids[place]) for place in forgotten.places(ids))
        controls.close()
        places += [Place(CONTROLS_FILE, "rewritten", {"profiles": num})] if num else []
    if releases.is_dir():
        places += erase_from_releases(releases, forgotten, settings.releases_days, now, store_keys)
    places += models_to_retrain(artifacts, states, settings.retrain_days)
    return places + _backups(forgotten, settings.backups, now)


def _tables_below(artifacts: Path) -> list[Path]:
    releases = artifacts / RELEASES_FOLDER
    found = (path.parent for path in artifacts.rglob("events.parquet"))
    return sorted(folder for folder in found if releases not in folder.parents and folder.name != "rejected")


def _since(path: Path, forgotten: Forgotten) -> datetime | None:
    ids = pq.read_table(path, columns=["profile_id"])["profile_id"].to_pylist()
    return min((when for id_ in ids if (when := forgotten.since(id_)) is not None), default=None)


def _erase_rows(path: Path, forgotten: Forgotten) -> int:
    """Takes the rows of the forgotten out of any file that has profiles by name; how many there were."""
    with pq.ParquetFile(path) as file:
        if "profile_id" not in file.schema_arrow.names:
            return 0
        ids = set(file.read(columns=["profile_id"])["profile_id"].unique().to_pylist())
        gone = {id_ for id_ in ids if id_ in forgotten}
        if not gone:
            return 0
        num_gone = 0
        with file_aside(path) as aside, pq.ParquetWriter(aside, file.schema_arrow) as writer:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                kept = [id_ not in gone for id_ in rows["profile_id"].to_pylist()]
                num_gone += len(kept) - sum(kept)
                writer.write_table(rows.filter(kept))
    return num_gone


def _backups(forgotten: Forgotten, backups: Mapping[str, float], now: datetime) -> list[Place]:
    """Until when each backup may still hold what was erased last."""
    newest = max(forgotten.tokens.values())
    due = {name: newest + timedelta(days=days) for name, days in backups.items()}
    return [
        Place(name, "a backup that expires", due=when.isoformat()) for name, when in due.items() if now < when
    ]


def _pseudonyms_of(id_: str, pseudonyms: Pseudonyms | None) -> list[str]:
    return [] if pseudonyms is None else [key.pseudonym(id_) for key in pseudonyms.keys]
