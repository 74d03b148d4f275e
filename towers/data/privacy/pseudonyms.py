"""Ids of people → pseudonyms: keyed hashes that only the holder of the key can make again."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from towers.data.privacy.keys import read_keys
from towers.errors import ReleaseError

_ID_BYTES = 16  # 128 bits: of 10⁹ profiles two share a pseudonym with a chance of 10⁻²¹
_PSEUDONYM = re.compile(r"([0-9a-f]{8})-[0-9a-f]{32}")


class Whose(StrEnum):
    """What an id is of: a profile and a household of one id get pseudonyms that have nothing in common."""

    PROFILE = "profile"
    HOUSEHOLD = "household"


@dataclass(frozen=True, slots=True)
class PseudonymKey:
    """One secret key; `name` says which it is and tells nothing about it.

    A pseudonym is <name>-<32 hex digits>: HMAC-SHA-256 of what the id is of, a zero byte and the id in UTF-8,
    cut to 128 bits; the name is made the same way. Source: RFC 2104 and FIPS 198-1; on cutting, RFC 2104 §5.
    """

    secret: bytes = field(repr=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self._hash(b"name of the key")[:4].hex())

    def pseudonym(self, id_: str, of: Whose = Whose.PROFILE) -> str:
        """The pseudonym of an id as the source spells it, without blanks around it."""
        # Whoever is asked for by half of a character is nobody, and no error of its own.
        said = of.encode() + bytes(1) + id_.encode(errors="surrogatepass")
        return f"{self.name}-{self._hash(said)[:_ID_BYTES].hex()}"

    def _hash(self, content: bytes) -> bytes:
        return hmac.digest(self.secret, content, hashlib.sha256)


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Keys, the newest first: ingest takes that one, a release is asked under the one it was made with."""

    keys: Sequence[PseudonymKey]

    @property
    def newest(self) -> PseudonymKey:
        """The key of what is ingested from now on."""
        return self.keys[0]

    def of_release(self, profile_ids: Sequence[str], release_id: str) -> PseudonymKey:
        """The key under which these profiles got their pseudonyms; the newest where there is no profile.

        Raises ReleaseError where they are no pseudonyms, or the key is not among these: answers to all
        profiles would else be those to unknown ones.
        """
        if not profile_ids:
            return self.newest
        name = key_name(profile_ids[0])
        if name is None:
            raise ReleaseError(
                f"release {release_id}: its profile ids are no pseudonyms; expected a release of tables that "
                "were ingested with privacy.key, or none to be given here"
            )
        for key in self.keys:
            if key.name == name:
                return key
        held = ", ".join(key.name for key in self.keys)
        raise ReleaseError(
            f"release {release_id}: its pseudonyms are of the key {name}; expected one of {held}: keep an "
            "old key as long as a release made with it is served"
        )


def key_name(profile_id: str) -> str | None:
    """The name of the key that made a pseudonym; None where an id is none."""
    found = _PSEUDONYM.fullmatch(profile_id)
    return None if found is None else found[1]


def read_pseudonyms(source: str, key: str = "privacy.key") -> Pseudonyms:
    """The keys that lie in a file, or with env:NAME in a variable of the environment, the newest first.

    Their form, and what is raised where there is none, is that of `read_keys`.
    """
    return Pseudonyms(read_keys(source, key, PseudonymKey, "pseudonyms.key"))
