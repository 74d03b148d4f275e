"""Who reads releases while others change them: what is current is opened and asked, over and over."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.release_world import Variant
from retrieval.retriever import Retriever
from towers.errors import ReleaseError

_K = 8


def answers(retriever: Retriever, profile_ids: Iterable[str]) -> dict[str, list[str]]:
    """What a release answers to each of these."""
    return {name: list(retriever.recommend(name, k=_K).item_id) for name in profile_ids}


def is_answered_by(variant: Variant, retriever: Retriever) -> bool:
    """Whether a release answers as this one does."""
    return variant.answers == answers(retriever, variant.answers)


def state(root: Path, known: Sequence[Variant]) -> str:
    """What a reader finds of the current release: whole, unreadable or torn."""
    try:
        retriever = Retriever.open(root)
    except (ReleaseError, OSError):
        return "unreadable"
    variant = known[retriever.context["variant"]]
    return "whole" if is_answered_by(variant, retriever) else "torn"


def read(root: Path, known: Sequence[Variant], folder: Path) -> None:
    """Opens what is current and asks it, over and over until the others have ended."""
    found = {"whole": 0, "unreadable": 0, "torn": 0}
    while not (folder / "ended").exists():
        found[state(root, known)] += 1
    (folder / "read.json").write_text(json.dumps(found))
