"""Publishes small releases until it is killed: `python -m tests.retrieval.release.publisher ROOT [hold]`.

With `hold`, stops inside a publish, after it said so, until its input ends.
"""

import sys
from pathlib import Path

from retrieval.index.spec import IndexSpec
from retrieval.release.manifest import AnswerKind, Description
from retrieval.release.store import publish


def description() -> Description:
    """A description of nothing in particular."""
    return Description(
        kind=AnswerKind.TOWERS,
        index=IndexSpec(),
        dimension=4,
        num_items=3,
        num_profiles=2,
        num_events=1,
        model_fingerprint="f",
        context={"split": {"kind": "leave_one_out"}},
        gates=(),
    )


def write_files(folder: Path) -> Description:
    """Writes a few files of some size."""
    for name in ("a.bin", "b.bin", "c.bin"):
        (folder / name).write_bytes(name.encode() * 20_000)
    return description()


def _hold(folder: Path) -> Description:
    print("holding", flush=True)
    sys.stdin.read()
    return write_files(folder)


if __name__ == "__main__":
    releases = Path(sys.argv[1])
    if sys.argv[2:] == ["hold"]:
        publish(releases, _hold)
    else:
        print("ready", flush=True)
        while True:
            publish(releases, write_files)
