"""What was erased where, what is due until when: a receipt that anyone can check, and that names nobody."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from towers.data.privacy.extra import cryptography
from towers.errors import ConfigError, IntegrityError, MissingDataError
from towers.folders import replace_file

_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Place:
    """A place that held forgotten profiles, or may.

    where: its path below the artifacts, or the name of a backup. action: what was done, or is to be done.
    num_rows: what was taken out of it, by table; empty where nothing was. due: until when it is to be done,
    in ISO 8601, UTC; None where it is done.
    """

    where: str
    action: str
    num_rows: Mapping[str, int] = field(default_factory=dict)
    due: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one run of the erasure did, and what is left for later.

    asked, done: UTC, ISO 8601. num_asked: profiles that this run was asked to forget; num_forgotten: all that
    the list has by now, under every id that they go by.
    """

    asked: str
    done: str
    num_asked: int
    num_forgotten: int
    places: Sequence[Place]

    @property
    def open(self) -> tuple[Place, ...]:
        """What is left to be done."""
        return tuple(place for place in self.places if place.due is not None)


def write_receipt(receipt: Receipt, folder: Path, signing_key: str | None) -> Path:
    """Writes a receipt as JSON, signed if there is a key, under the moment it was done; gives its path.

    The signature (Ed25519, RFC 8032) is over the bytes of `receipt` as compact JSON with sorted keys.
    Raises what `read_key` raises.
    """
    content: dict[str, Any] = {"format_version": _FORMAT_VERSION, "receipt": asdict(receipt)}
    if signing_key is not None:
        key = read_key(signing_key)
        content["signature"] = base64.b64encode(key.sign(_signed(content["receipt"]))).decode()
        content["public_key"] = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    moment = datetime.fromisoformat(receipt.done).strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{moment}.json"
    replace_file(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def check_receipt(path: Path, public_key: bytes) -> Receipt:
    """The receipt in a file, as it was signed by the holder of the key with these 32 public bytes.

    Raises IntegrityError where it was changed, is not signed, or by another.
    """
    ed25519 = cryptography("hazmat.primitives.asymmetric.ed25519")
    invalid = cryptography("exceptions").InvalidSignature
    try:
        content = json.loads(path.read_bytes())
        said, signature = content["receipt"], base64.b64decode(content["signature"])
        ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _signed(said))
        places = [Place(**place) for place in said["places"]]
        return Receipt(**{**said, "places": places})
    except (invalid, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not the receipt that was signed by this key") from error


def read_key(path: str) -> Any:
    """The Ed25519 private key in a PEM file.

    Raises MissingDataError where there is none, ConfigError where it is another kind of key.
    """
    ed25519 = cryptography("hazmat.primitives.asymmetric.ed25519")
    read = cryptography("hazmat.primitives.serialization").load_pem_private_key
    if not Path(path).is_file():
        raise MissingDataError(
            f"erasure.signing_key: no file {path}; make one with: "
            "(umask 077; openssl genpkey -algorithm ed25519 -out receipts.pem)"
        )
    try:
        key = read(Path(path).read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"erasure.signing_key: {path} is no private key in PEM without a password"
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"erasure.signing_key: {path} holds another kind of key; expected Ed25519")
    return key


def _signed(receipt: Mapping[str, Any]) -> bytes:
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
