"""The releases of an artifacts folder, or of a remote: list, verify, roll back, clear away, push, pull."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.releases import ReleaseAction, ReleasesSettings
from retrieval.release import operations
from retrieval.release.compare import compare
from retrieval.release.operations import Standing
from retrieval.release.remote import operations as remotely
from retrieval.release.remote.objects import Objects, open_objects
from retrieval.release.remote.pull import pull
from retrieval.release.remote.push import push
from retrieval.release.store import open_release
from retrieval.release.tables import (
    comparison_view,
    faults,
    release_view,
    releases_table,
    removed_line,
    transfer_line,
)
from retrieval.release.verify import Verify
from towers.data.privacy.sealed import read_store_keys
from towers.errors import IntegrityError


def releases(settings: ReleasesSettings) -> None:
    """Does what is asked, and prints the releases or what it found."""
    root, console = Path(settings.artifacts) / "releases", Console()
    if settings.remote is None:
        _here(settings, root, console)
    else:
        _there(settings, root, open_objects(settings.remote), console)


def _here(settings: ReleasesSettings, root: Path, console: Console) -> None:
    chosen = settings.release
    match settings.action:
        case ReleaseAction.DESCRIBE:
            console.print(release_view(open_release(root / (chosen or "")).manifest))
            return
        case ReleaseAction.COMPARE:
            before, after, keys = root / settings.against, root / (chosen or ""), settings.store_key
            found = compare(before, after, k=settings.k, store_keys=read_store_keys(keys))
            console.print(comparison_view(found))
            return
        case ReleaseAction.ROLL_BACK:
            operations.roll_back(root, chosen, settings.verify)
        case ReleaseAction.PROMOTE:
            operations.promote(root, settings.named(), settings.verify)
        case ReleaseAction.PIN:
            operations.pin(root, settings.named())
        case ReleaseAction.UNPIN:
            operations.unpin(root, settings.named())
        case ReleaseAction.PRUNE if settings.dry_run:
            console.print(removed_line(operations.prunable(root, settings.keep), dry_run=True))
        case ReleaseAction.PRUNE:
            console.print(removed_line(operations.prune(root, settings.keep)))
        case _:
            pass
    _show(operations.standing(root, _looked(settings)), console)


def _there(settings: ReleasesSettings, root: Path, objects: Objects, console: Console) -> None:
    chosen = settings.release
    match settings.action:
        case ReleaseAction.DESCRIBE:
            console.print(release_view(remotely.manifest_of(objects, chosen)))
            return
        case ReleaseAction.PULL:
            console.print(transfer_line(pull(objects, root, chosen), "pulled from", objects.where))
            _show(operations.standing(root), console)
            return
        case ReleaseAction.PUSH:
            console.print(transfer_line(push(root, objects, chosen), "pushed to", objects.where))
        case ReleaseAction.ROLL_BACK:
            remotely.roll_back(objects, chosen)
        case ReleaseAction.PROMOTE:
            remotely.promote(objects, settings.named())
        case ReleaseAction.PIN:
            remotely.pin(objects, settings.named())
        case ReleaseAction.UNPIN:
            remotely.unpin(objects, settings.named())
        case ReleaseAction.PRUNE if settings.dry_run:
            console.print(removed_line(remotely.prunable(objects, settings.keep), dry_run=True))
        case ReleaseAction.PRUNE:
            console.print(removed_line(remotely.prune(objects, settings.keep, settings.grace_hours)))
        case _:
            pass
    _show(remotely.standing(objects, full=_looked(settings) is Verify.FULL), console)


def _looked(settings: ReleasesSettings) -> Verify:
    return Verify.FULL if settings.action is ReleaseAction.VERIFY else Verify.TRUSTED


def _show(releases: Iterable[Standing], console: Console) -> None:
    stand = tuple(releases)
    console.print(releases_table(stand))
    if broken := faults(stand):
        raise IntegrityError("\n  ".join([f"{len(broken)} of {len(stand)} releases are damaged:", *broken]))


if __name__ == "__main__":
    run(releases, ReleasesSettings, "releases")
