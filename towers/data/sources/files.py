"""Files of a source's folder, each plain or gzipped."""

from pathlib import Path

from towers.errors import MissingDataError


def find_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or else its gzipped form `name`.gz; None where neither is there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def required_file(folder: Path, *names: str) -> Path:
    """The first of these files that is there, plain or gzipped; MissingDataError where none is."""
    found = next((path for name in names if (path := find_file(folder, name))), None)
    if found is None:
        where = f"{folder}: no such folder" if not folder.is_dir() else str(folder)
        raise MissingDataError(f"{where}; expected {' or '.join(names)} there, plain or .gz")
    return found


def matching_files(folder: Path, pattern: str) -> list[Path]:
    """The files whose name fits a glob pattern, plain or gzipped, by name; a plain one before its twin."""
    found = {path.name: path for path in folder.glob(f"{pattern}.gz") if path.is_file()}
    plain = {path.name: path for path in folder.glob(pattern) if path.is_file()}
    both = {name.removesuffix(".gz"): path for name, path in found.items()} | plain
    return [both[name] for name in sorted(both)]
