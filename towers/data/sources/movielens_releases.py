"""What GroupLens publishes as MovieLens: the releases, where they are, and what their bytes must be."""

from enum import StrEnum

from towers.data.download import Archive

HOME = "https://grouplens.org/datasets/movielens/"
_FILES = "https://files.grouplens.org/datasets/movielens"
_MB, _GB = 10**6, 10**9


class MovieLensRelease(StrEnum):
    """The releases that can be downloaded; the value is the name of the archive and of its folder."""

    ML_LATEST_SMALL = "ml-latest-small"
    ML_100K = "ml-100k"
    ML_1M = "ml-1m"
    ML_20M = "ml-20m"
    ML_25M = "ml-25m"
    ML_32M = "ml-32m"


# SHA-256, largest archive and largest unpacked size in bytes. GroupLens publishes MD5 only; each of these
# SHA-256 is stated alike, beside the archive's name, by at least two unrelated public projects that
# download it. The caps leave room over the published sizes.
_PINNED = {
    MovieLensRelease.ML_LATEST_SMALL: (
        "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436", 10 * _MB, 50 * _MB,
    ),
    MovieLensRelease.ML_100K: (
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229", 20 * _MB, 100 * _MB,
    ),
    MovieLensRelease.ML_1M: (
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20", 20 * _MB, 100 * _MB,
    ),
    MovieLensRelease.ML_20M: (
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3", 400 * _MB, 4 * _GB,
    ),
    MovieLensRelease.ML_25M: (
        "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa", 400 * _MB, 4 * _GB,
    ),
    MovieLensRelease.ML_32M: (
        "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee", 400 * _MB, 4 * _GB,
    ),
}  # fmt: skip

ARCHIVES = {
    release: Archive(f"{_FILES}/{release}.zip", sha256, str(release), max_bytes, max_unpacked_bytes)
    for release, (sha256, max_bytes, max_unpacked_bytes) in _PINNED.items()
}
"""The archive of each release."""
