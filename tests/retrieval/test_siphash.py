"""Hashes of many strings against the vectors of the reference code, and against Python's whole numbers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.siphash import padded_bytes, siphashes

KEY = bytes(range(16))
# vectors_sip128 of the reference code, github.com/veorq/SipHash: of 00 01 02 …, so many bytes of them.
KNOWN = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    2: "8177228da4a45dc7fca38bdef60affe4",
    3: "9c70b60c5267a94e5f33b6b02985ed51",
    4: "f88164c12d9c8faf7d0f6e7c7bcd5579",
    5: "1368875980776f8854527a07690e9627",
    6: "14eeca338b208613485ea0308fd7a15e",
    7: "a1f1ebbed8dbc153c0b84aa61ff08239",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
}


def hashed(strings: list[bytes], key: bytes = KEY) -> list[bytes]:
    """The hashes of strings that are laid side by side as they are to be."""
    length = np.array([len(one) for one in strings], np.int64)
    room = padded_bytes(length)
    start = np.cumsum(room) - room
    data = np.zeros(room.sum(), np.uint8)
    for one, at in zip(strings, start.tolist(), strict=True):
        data[at : at + len(one)] = np.frombuffer(one, np.uint8)
    return [line.astype("<u8").tobytes() for line in siphashes(data, start, length, key)]


def by_definition(string: bytes, key: bytes) -> bytes:
    """SipHash-2-4 of 128 bits, by whole numbers of any size."""
    most = 2**64 - 1

    def turned(value: int, num: int) -> int:
        return (value << num | value >> (64 - num)) & most

    def rounds(v: list[int], num: int) -> None:
        for _ in range(num):
            v[0] = (v[0] + v[1]) & most
            v[1] = turned(v[1], 13) ^ v[0]
            v[0] = turned(v[0], 32)
            v[2] = (v[2] + v[3]) & most
            v[3] = turned(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & most
            v[3] = turned(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & most
            v[1] = turned(v[1], 17) ^ v[2]
            v[2] = turned(v[2], 32)

    halves = [int.from_bytes(key[at : at + 8], "little") for at in (0, 8)] * 2
    signs = (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    v = [half ^ int.from_bytes(sign, "big") for half, sign in zip(halves, signs, strict=True)]
    v[1] ^= 0xEE
    whole = string + bytes(7 - len(string) % 8) + bytes([len(string) % 256])
    for at in range(0, len(whole), 8):
        word = int.from_bytes(whole[at : at + 8], "little")
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    said = b""
    for place, mark in ((2, 0xEE), (1, 0xDD)):
        v[place] ^= mark
        rounds(v, 4)
        said += (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    return said


def test_hashes_are_those_of_the_reference_code() -> None:
    found = hashed([bytes(range(num)) for num in KNOWN])
    assert [each.hex() for each in found] == list(KNOWN.values())


@settings(max_examples=50)
@given(strings=st.lists(st.binary(max_size=40), max_size=6), key=st.binary(min_size=16, max_size=16))
def test_many_strings_are_hashed_each_by_itself(strings: list[bytes], key: bytes) -> None:
    strings.append(bytes(300))  # a length above what the last byte says
    assert hashed(strings, key) == [by_definition(one, key) for one in strings]
