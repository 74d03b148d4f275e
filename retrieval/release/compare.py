"""What changes for viewers and operators from one release to another."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from retrieval.release.manifest import Manifest
from retrieval.release.store import open_release
from retrieval.retriever import Retriever
from towers.data.privacy.sealed import StoreKeys


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of both releases; None where one does not have it."""

    name: str
    before: int | float | str | None
    after: int | float | str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two releases beside each other.

    items_in, items_out: ids that only the newer, only the older has, in their order. overlap: of the k titles
    that a profile is recommended by the older, the share that the newer recommends it too: mean over
    num_profiles that both know; None where there are none. figures: gates, sizes and counts of both, those
    that differ; settings: of the index, those that differ.
    """

    before: str
    after: str
    items_in: tuple[str, ...]
    items_out: tuple[str, ...]
    k: int
    num_profiles: int
    overlap: float | None
    figures: tuple[Change, ...]
    settings: tuple[Change, ...]


def compare(
    before: Path,
    after: Path,
    *,
    k: int = 10,
    num_profiles: int = 200,
    store_keys: StoreKeys | None = None,
) -> Comparison:
    """Compares the releases in two folders, or the current ones of two roots; both are opened and verified.

    Profiles are spread evenly over those that have a history in both. store_keys: as of `Retriever.open`.
    """
    old, new = (Retriever.open(path, store_keys=store_keys) for path in (before, after))
    manifests = open_release(before).manifest, open_release(after).manifest
    old_items, new_items = old.items.ids, new.items.ids
    had, has = set(old_items), set(new_items)
    of_new = set(_watched(new))
    asked = _spread([one for one in _watched(old) if one in of_new], num_profiles)
    shares = [_overlap(old, new, profile_id, k) for profile_id in asked]
    return Comparison(
        before=old.release_id,
        after=new.release_id,
        items_in=tuple(one for one in new_items if one not in had),
        items_out=tuple(one for one in old_items if one not in has),
        k=k,
        num_profiles=len(shares),
        overlap=float(np.mean(shares)) if shares else None,
        figures=_changes(*map(_figures, manifests)),
        settings=_changes(*map(_settings, manifests)),
    )


def _watched(retriever: Retriever) -> list[str]:
    return [profile_id for profile_id in retriever.profile_ids if retriever.history(profile_id)]


def _spread(ids: list[str], num: int) -> list[str]:
    places = np.linspace(0, max(len(ids) - 1, 0), min(num, len(ids))).astype(int)
    return [ids[place] for place in places.tolist()]


def _overlap(old: Retriever, new: Retriever, profile_id: str, k: int) -> float:
    shown = set(old.recommend(profile_id, k=k).item_id)
    return len(shown & set(new.recommend(profile_id, k=k).item_id)) / max(len(shown), 1)


def _figures(manifest: Manifest) -> dict[str, int | float | str | None]:
    about = manifest.description
    return {
        "kind": about.kind.value,
        "items": about.num_items,
        "profiles": about.num_profiles,
        "events": about.num_events,
        "dimension": about.dimension,
        "size_bytes": sum(entry.size_bytes for entry in manifest.files.values()),
        "model_fingerprint": about.model_fingerprint[:12],
    } | {gate.name: gate.value for gate in about.gates}


def _settings(manifest: Manifest) -> dict[str, int | float | str | None]:
    spec = manifest.description.index
    return {} if spec is None else {f"index.{name}": value for name, value in asdict(spec).items()}


def _changes(
    before: dict[str, int | float | str | None], after: dict[str, float | str | None]
) -> tuple[Change, ...]:
    names: Iterable[str] = dict.fromkeys([*before, *after])
    both = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in both if change.before != change.after)
