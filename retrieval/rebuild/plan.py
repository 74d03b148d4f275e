"""What a rebuild has to do: the least work after which the newest tables are served."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from retrieval.index.upkeep import UpkeepSettings


class Work(StrEnum):
    """What a rebuild does, from the least to the most; each does what those before it do."""

    NOTHING = "nothing"
    """The live release says what the tables say."""
    HISTORIES = "histories"
    """Profiles, or what they watched, are new; no title is."""
    ELIGIBILITY = "eligibility"
    """What titles say of themselves is new: licences, certificates, attributes; no vector is."""
    DELTA = "delta"
    """New and changed titles are embedded by the live towers and join the index; removed ones leave it."""
    REINDEX = "reindex"
    """The index is built anew, of the vectors that are known and those of new titles."""
    REEMBED = "reembed"
    """Every title is embedded, by the towers that stand, and the index is built."""
    RETRAIN = "retrain"
    """Towers are trained."""

    @property
    def keeps_the_index(self) -> bool:
        """Whether the release is made from the live one, its index as it was built."""
        return self in (Work.HISTORIES, Work.ELIGIBILITY, Work.DELTA)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the plan rests on.

    is_first: nothing is published yet. retrain: why towers are to be trained, empty where they need not be.
    other_towers: a trained model stands that no release has yet. drifted_vectors: the towers no longer give
    the vectors that the release holds. other_index: the index asked for is not the one that was built.
    num_new, num_changed, num_removed, num_described: titles, see `Changes`; histories: whether they changed.
    num_built: rows of the index as it was built. num_added, num_gone: of the live release since: added titles
    that are there, and rows of the build that are not.
    """

    is_first: bool = False
    retrain: Sequence[str] = ()
    other_towers: bool = False
    drifted_vectors: bool = False
    other_index: bool = False
    num_new: int = 0
    num_changed: int = 0
    num_removed: int = 0
    num_described: int = 0
    histories: bool = False
    num_built: int = 1
    num_added: int = 0
    num_gone: int = 0


def decide(facts: Facts, upkeep: UpkeepSettings) -> tuple[Work, tuple[str, ...]]:
    """The work, and why; of several reasons those for the most work."""
    if facts.is_first:
        return Work.RETRAIN, ("nothing is published yet",)
    if facts.retrain:
        return Work.RETRAIN, tuple(facts.retrain)
    if reasons := _for_embedding(facts):
        return Work.REEMBED, reasons
    if reasons := _for_building(facts, upkeep):
        return Work.REINDEX, reasons
    counted = {"new": facts.num_new, "changed": facts.num_changed, "removed": facts.num_removed}
    if any(counted.values()):
        return Work.DELTA, tuple(f"{num:,} titles {what}" for what, num in counted.items() if num)
    if facts.num_described:
        return Work.ELIGIBILITY, (f"{facts.num_described:,} titles say other things of themselves",)
    if facts.histories:
        return Work.HISTORIES, ("profiles, or what they watched, changed",)
    return Work.NOTHING, ("the live release says what the tables say",)


def _for_embedding(facts: Facts) -> tuple[str, ...]:
    found = {
        "a trained model stands that no release has": facts.other_towers,
        "the towers no longer give the vectors of the release": facts.drifted_vectors,
    }
    return tuple(reason for reason, holds in found.items() if holds)


def _for_building(facts: Facts, upkeep: UpkeepSettings) -> tuple[str, ...]:
    """The index asked for is another, or a delta would carry too much beside the build.

    Of what a changed or removed title leaves, all is counted as rows of the build: at most as many are.
    """
    added = (facts.num_added + facts.num_new + facts.num_changed) / facts.num_built
    gone = min(1.0, (facts.num_gone + facts.num_changed + facts.num_removed) / facts.num_built)
    found = {
        "the index asked for is another": facts.other_index,
        f"{added:.1%} of the build would be added titles, more than {upkeep.max_added_share:.1%}": added
        > upkeep.max_added_share,
        f"{gone:.1%} of the build would be gone, more than {upkeep.max_removed_share:.1%}": gone
        > upkeep.max_removed_share,
    }
    some_change = facts.num_new or facts.num_changed or facts.num_removed
    return tuple(
        reason
        for place, (reason, holds) in enumerate(found.items())
        if holds and (place == 0 or some_change or facts.num_added or facts.num_gone)
    )
