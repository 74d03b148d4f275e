"""What became of releases that were built, or deltas that were made, for the claim `gates`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a build: the gates, or the error, that stopped it; none where it was published.

    work: what the rebuild job set out to do, where it was that.
    """

    stopped_by: tuple[str, ...]
    work: str = ""

    @property
    def published(self) -> bool:
        """Whether it was published."""
        return not self.stopped_by


def failed_gates(error: str) -> tuple[str, ...]:
    """The names of the gates that failed, from what a GateError says."""
    lines = [line.split() for line in error.splitlines()]
    return tuple(words[1].rstrip(":") for words in lines if words and words[0] == "FAILED") or ("GateError",)


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How often each gate was the first that stopped a build."""
    return dict(Counter(one.stopped_by[0] if one.stopped_by else "published" for one in outcomes))


def works(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How often the job set out to do what; "none" where an error came before it knew."""
    return dict(Counter(one.work or "none" for one in outcomes))
