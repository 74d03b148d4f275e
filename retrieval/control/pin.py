"""PINs: kept as a salted slow hash alone, and tried only so often."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from towers.errors import PinError

FREE_TRIES = 5
"""Wrong ones in a row that need not be waited after."""
FIRST_WAIT_SECONDS = 30
LONGEST_WAIT_SECONDS = 24 * 60 * 60
_FORM = re.compile(r"[0-9]{4,12}")
_SALT_BYTES, _DIGEST_BYTES = 16, 32


@dataclass(frozen=True, slots=True)
class HashedPin:
    """scrypt of a PIN: what is stored of it.

    cost, block_size, parallelism: N, r and p of RFC 7914. The defaults take 32 MiB and a tenth of a second or
    more (OWASP Password Storage Cheat Sheet): ten thousand PINs are an hour for who has stolen the file, so
    a long one is worth it.
    """

    salt: bytes
    digest: bytes
    cost: int = 1 << 15
    block_size: int = 8
    parallelism: int = 3

    def matches(self, pin: str) -> bool:
        """Whether it is this PIN; takes as long where it is not."""
        return hmac.compare_digest(self.digest, self._hashed(pin))

    @classmethod
    def of(cls, pin: str) -> "HashedPin":
        """A PIN hashed with a new salt; PinError unless it is 4 to 12 digits."""
        if not isinstance(pin, str) or not _FORM.fullmatch(pin):
            raise PinError("PIN: has another form; expected 4 to 12 digits")
        empty = cls(secrets.token_bytes(_SALT_BYTES), b"")
        return cls(empty.salt, empty._hashed(pin))

    def _hashed(self, pin: str) -> bytes:
        return hashlib.scrypt(
            pin.encode(),
            salt=self.salt,
            n=self.cost,
            r=self.block_size,
            p=self.parallelism,
            maxmem=2 * 128 * self.cost * self.block_size,
            dklen=_DIGEST_BYTES,
        )


def wait_seconds(num_wrong: int) -> int:
    """How long after so many wrong tries in a row, since the last of them, none is looked at."""
    if num_wrong < FREE_TRIES:
        return 0
    # Beyond 2^12 times the first wait the longest is reached.
    return min(FIRST_WAIT_SECONDS << min(num_wrong - FREE_TRIES, 12), LONGEST_WAIT_SECONDS)
