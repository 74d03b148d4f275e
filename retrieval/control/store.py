"""The controls of profiles in a file of their own, whichever release answers: durable, changed as a whole."""

import json
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from retrieval.control.controls import NO_CONTROLS, Controls, controls_from_json, loosens
from retrieval.control.pin import HashedPin, wait_seconds
from towers.errors import ControlsError, PinError
from towers.folders import sync

log = logging.getLogger(__name__)

CONTROLS_FILE = "controls.sqlite"
_FORMAT_VERSION = 1
_APPLICATION_ID = 0x54544354
_BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE controls (profile_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pins (
    profile_id TEXT PRIMARY KEY, salt BLOB NOT NULL, digest BLOB NOT NULL, cost INTEGER NOT NULL,
    block_size INTEGER NOT NULL, parallelism INTEGER NOT NULL, num_wrong INTEGER NOT NULL,
    tried_seconds REAL NOT NULL
) WITHOUT ROWID;
"""
# Profiles asked for at once are thousands, more than a statement may have variables.
_OF_MANY = """
SELECT profile_id, body FROM controls WHERE profile_id IN (SELECT value FROM json_each(?))
"""


@runtime_checkable
class ReadsControls(Protocol):
    """Where a Retriever reads controls. Both raise ControlsError where they cannot be read."""

    def of(self, profile_id: str) -> Controls:
        """The controls of a profile; those that decide nothing where it has none."""
        ...

    def of_many(self, profile_ids: Sequence[str]) -> list[Controls]:
        """The controls of each of these profiles, as they are at one moment."""
        ...


class ControlsStore:
    """The controls and PINs of profiles, in one SQLite file.

    A change is there for every process once the call returns, and stays through a power cut. What was stored
    before is overwritten with zeros (`secure_delete`), so that nothing of a profile forgotten is left. Safe
    for any number of threads and processes. Whatever is wrong with the file is a ControlsError: an answer
    without a profile's controls would be a wrong one, so there is none.
    """

    def __init__(self, path: str | Path, now: Callable[[], float] = time.time) -> None:
        """Opens a file that `create` made; ControlsError where it is not there or is another thing.

        now: Unix seconds, by which tries of a PIN are told apart.
        """
        self._path, self._now = Path(path), now
        self._lock = threading.RLock()
        with self._read_errors():
            self._connection = _connected(self._path, "rw")
            self._close = weakref.finalize(self, self._connection.close)
            found = [
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
        if found != [_APPLICATION_ID, _FORMAT_VERSION]:
            self.close()
            raise ControlsError(
                f"{self._path}: application and version are {found}; expected a store of controls, "
                f"{[_APPLICATION_ID, _FORMAT_VERSION]}"
            )

    @classmethod
    def create(cls, path: str | Path, now: Callable[[], float] = time.time) -> "ControlsStore":
        """A new, empty store; ControlsError where something lies there already.

        It is not made by opening: a file that is gone must not read as one in which nobody decided anything.
        """
        path = Path(path)
        if path.exists():
            raise ControlsError(f"{path}: is there already; expected nothing, to make a store of controls")
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.new")
        aside.unlink(missing_ok=True)
        connection = _connected(aside, "rwc")
        try:
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORMAT_VERSION}")
        finally:
            connection.close()
        aside.chmod(0o600)
        sync(aside)
        aside.rename(path)
        sync(path.parent)
        return cls(path, now)

    def close(self) -> None:
        """Closes the file; it is closed too when nobody holds the store any more."""
        self._close()

    def of(self, profile_id: str) -> Controls:
        """The controls of a profile; see `ReadsControls`."""
        with self._read_errors():
            row = self._connection.execute(
                "SELECT body FROM controls WHERE profile_id = ?", (profile_id,)
            ).fetchone()
        return NO_CONTROLS if row is None else controls_from_json(row[0])

    def of_many(self, profile_ids: Sequence[str]) -> list[Controls]:
        """The controls of each of these profiles; see `ReadsControls`."""
        with self._read_errors():
            rows = self._connection.execute(_OF_MANY, (json.dumps(list(profile_ids)),)).fetchall()
        found = {profile_id: controls_from_json(body) for profile_id, body in rows}
        return [found.get(profile_id, NO_CONTROLS) for profile_id in profile_ids]

    def change(
        self, profile_id: str, to: Callable[[Controls], Controls], *, pin: str | None = None
    ) -> Controls:
        """Puts what `to` makes of a profile's controls in their place, and gives it.

        PinError where the change loosens what the PIN guards (`loosens`) and it is not given, is wrong, or is
        tried too soon. ControlsError where a limit of age or a kids profile is asked for without a PIN set:
        whoever it is for could lift it.
        """
        unlocked = pin is not None and self._unlocked(profile_id, pin)
        with self._changing():
            before = self.of(profile_id)
            after = to(before)
            if loosens(before, after) and not unlocked:
                raise PinError("controls: the change shows more than the PIN lets; expected the PIN")
            if after.age_limit is not None and self._pin(profile_id) is None:
                raise ControlsError(
                    "controls: a limit of age is asked for without a PIN; expected one set before"
                )
            self._put(profile_id, after)
        log.info("controls changed")
        return after

    def set_pin(self, profile_id: str, new: str, *, pin: str | None = None) -> None:
        """Sets a profile's PIN, 4 to 12 digits; where it has one, only with that.

        Raises PinError as `change` does, and where the new one has another form.
        """
        hashed = HashedPin.of(new)
        unlocked = pin is not None and self._unlocked(profile_id, pin)
        with self._changing():
            if self._pin(profile_id) is not None and not unlocked:
                raise PinError("PIN: the profile has one already; expected that one to set another")
            values = (hashed.salt, hashed.digest, hashed.cost, hashed.block_size, hashed.parallelism)
            self._connection.execute(
                "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?, 0, 0)", (profile_id, *values)
            )

    def profile_ids(self) -> list[str]:
        """Everybody of whom something is held."""
        with self._read_errors():
            rows = self._connection.execute(
                "SELECT profile_id FROM controls UNION SELECT profile_id FROM pins"
            )
            return [row[0] for row in rows.fetchall()]

    def forget(self, profile_id: str) -> bool:
        """Erases all that is held of a profile, for its erasure; whether there was anything.

        Its PIN is not asked for: this is for who may erase the whole profile.
        """
        with self._changing():
            deleted = [
                self._connection.execute(f"DELETE FROM {table} WHERE profile_id = ?", (profile_id,)).rowcount
                for table in ("controls", "pins")
            ]
        return any(deleted)

    def _unlocked(self, profile_id: str, pin: str) -> bool:
        """True; PinError where it is not the PIN, there is none, or it is too soon for another try.

        A try counts as wrong before it is looked at, so that many at once are not looked at for one.
        """
        with self._changing():
            held = self._pin(profile_id)
            if held is None:
                raise PinError("PIN: the profile has none; expected none given")
            hashed, num_wrong, tried_seconds = held
            now = self._now()
            # A clock that was set back shortens no wait.
            wait = wait_seconds(num_wrong) - max(0.0, now - tried_seconds)
            if wait > 0:
                raise PinError(
                    f"PIN: {num_wrong} wrong tries in a row; expected no other for {wait:.0f} seconds"
                )
            self._connection.execute(
                "UPDATE pins SET num_wrong = ?, tried_seconds = ? WHERE profile_id = ?",
                (num_wrong + 1, now, profile_id),
            )
        if not hashed.matches(pin):
            raise PinError("PIN: is not the one that was set")
        with self._changing():
            self._connection.execute("UPDATE pins SET num_wrong = 0 WHERE profile_id = ?", (profile_id,))
        return True

    def _pin(self, profile_id: str) -> tuple[HashedPin, int, float] | None:
        row = self._connection.execute("SELECT * FROM pins WHERE profile_id = ?", (profile_id,)).fetchone()
        return None if row is None else (HashedPin(*row[1:6]), int(row[6]), float(row[7]))

    def _put(self, profile_id: str, controls: Controls) -> None:
        if controls == NO_CONTROLS:
            self._connection.execute("DELETE FROM controls WHERE profile_id = ?", (profile_id,))
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO controls VALUES (?, ?)", (profile_id, controls.to_json())
            )

    @contextmanager
    def _read_errors(self) -> Iterator[None]:
        """Holds the connection; what goes wrong with the file is a ControlsError."""
        try:
            with self._lock:
                yield
        # A lone surrogate, as JSON may bring one, is a text to Python and none that a file can hold.
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise ControlsError(
                f"{self._path}: {error}; expected a store of controls that can be read and written"
            ) from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change, whole or not at all; other writers wait for it."""
        with self._read_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def controls_beside(artifacts: Path) -> ControlsStore | None:
    """The store of a service's folder; None where it has none yet. ControlsError as `ControlsStore`."""
    path = artifacts / CONTROLS_FILE
    return ControlsStore(path) if path.exists() else None


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that commits when it is told to, to the disk, and leaves nothing of what is deleted."""
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA secure_delete = ON")
        # The journal goes with the commit: what was there before lies nowhere after it.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
