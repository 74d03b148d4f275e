"""Every deliberate error, one tree; each is also the fitting builtin.

A message says where, what, and what was expected, and where it helps, the next step.
"""

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of an OSError that says there is no room for what is written."""


class TowersError(Exception):
    """Root of every error that this project raises on purpose."""


class ConfigError(TowersError, ValueError):
    """A setting is unknown, of the wrong type or out of range; the message names its full key."""


class SchemaError(TowersError, ValueError):
    """A table breaks its declared schema: type, range, uniqueness or reference."""


class ParseError(TowersError, ValueError):
    """A source file has a row that cannot be read; the message names file, line and expectation."""


class MissingDataError(TowersError, FileNotFoundError):
    """A folder or file that a job needs is not there; the message says how to get it."""


class MissingExtraError(TowersError, ImportError):
    """A library of an optional extra is not installed; the message names the extra."""


class DownloadError(TowersError, OSError):
    """A download failed, was too large, or is not what its pinned hash promises."""


class StorageError(TowersError, OSError):
    """A disk has no room for what a job writes; what was there before stays."""


class CapacityError(TowersError, MemoryError):
    """A machine has less memory than a job needs."""


class BusyError(TowersError, RuntimeError):
    """Another process is at the same job, and one at a time may be; nothing is wrong."""


class UnknownIdError(TowersError, KeyError):
    """An external id is not in the vocabulary."""

    def __str__(self) -> str:
        # KeyError prints the repr of its argument; an error message is not a key.
        return str(self.args[0]) if self.args else ""


class QueryError(TowersError, ValueError):
    """A request cannot be answered as asked: a negative k, rows out of range, unequal lengths."""


class ControlsError(TowersError, RuntimeError):
    """The controls of a profile cannot be read, or not be changed as asked; without them none is answered."""


class PinError(TowersError, PermissionError):
    """A change needs a profile's PIN, which is not given, wrong, or tried too often."""


class TrainingError(TowersError, RuntimeError):
    """Training cannot go on: no events to learn from, or a loss that is not finite."""


class IndexBuildError(TowersError, ValueError):
    """Vectors cannot be indexed: wrong shape, not finite, or none at all."""


class ReleaseError(TowersError, RuntimeError):
    """A release cannot be published or opened."""


class ConflictError(ReleaseError):
    """Another process is changing the releases, or changed them first; what it did stands."""


class IntegrityError(ReleaseError):
    """A file of a release is missing or is not the one its manifest names."""


class StoreKeyError(ReleaseError):
    """What is sealed cannot be opened with the keys that were given; the message names the one it needs."""


class SkewError(ReleaseError):
    """Vectors of one model meet the index, or the towers, of another."""


class GateError(ReleaseError):
    """A candidate release failed a check it must pass to become current."""
