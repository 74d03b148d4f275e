"""The releases of an artifacts folder: list, describe, compare, verify, roll back, pin and clear away."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.releases import ReleaseAction, ReleasesSettings
from retrieval.release.compare import compare
from retrieval.release.operations import pin, promote, prunable, prune, roll_back, standing, unpin
from retrieval.release.store import open_release
from retrieval.release.tables import comparison_view, faults, release_view, releases_table
from retrieval.release.verify import Verify
from towers.data.privacy.sealed import read_store_keys
from towers.errors import IntegrityError


def releases(settings: ReleasesSettings) -> None:
    """Does what is asked, and prints the releases or what it found."""
    root, console = Path(settings.artifacts) / "releases", Console()
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
            roll_back(root, chosen, settings.verify)
        case ReleaseAction.PROMOTE:
            promote(root, settings.named(), settings.verify)
        case ReleaseAction.PIN:
            pin(root, settings.named())
        case ReleaseAction.UNPIN:
            unpin(root, settings.named())
        case ReleaseAction.PRUNE:
            removed = prunable(root, settings.keep) if settings.dry_run else prune(root, settings.keep)
            console.print(
                f"{'would remove' if settings.dry_run else 'removed'}: {', '.join(removed) or 'none'}"
            )
        case ReleaseAction.LIST | ReleaseAction.VERIFY:
            pass
    looked = Verify.FULL if settings.action is ReleaseAction.VERIFY else Verify.TRUSTED
    stand = standing(root, looked)
    console.print(releases_table(stand))
    if broken := faults(stand):
        raise IntegrityError("\n  ".join([f"{len(broken)} of {len(stand)} releases are damaged:", *broken]))


if __name__ == "__main__":
    run(releases, ReleasesSettings, "releases")
