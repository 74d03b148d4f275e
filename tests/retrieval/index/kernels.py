"""What the kernels give for the cases of a folder: python -m tests.retrieval.index.kernels <device> <folder>.

A process of its own: whether Triton compiles its kernels or interprets them is settled when it is loaded.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from retrieval.index.group_kernels import group_maxima, scores_within
from retrieval.index.groups import Passing


def main(device: str, folder: Path) -> None:
    """Answers each case with the maxima of groups and super-groups, and the scores within some groups."""
    kind = torch.float32 if device == "cpu" else torch.bfloat16
    for path in sorted(folder.glob("*.case.npz")):
        case = np.load(path)
        query, item = (torch.from_numpy(case[name]).to(device, kind) for name in ("query", "item"))
        group = torch.from_numpy(case["group"]).to(device)
        of_group, of_super = group_maxima(query, item, int(case["tiles_per_block"]))
        within = scores_within(query, item, group)
        found = {"of_group": of_group, "of_super": of_super, "within": within}
        passing = Passing(*(torch.from_numpy(case[name]).to(device) for name in ("bits", "line")))
        ruled = group_maxima(query, item, int(case["tiles_per_block"]), passing)
        found |= dict(zip(("ruled_group", "ruled_super"), ruled, strict=True))
        answer = folder / path.name.replace(".case", ".answer")
        np.savez(answer, **{name: each.cpu().numpy() for name, each in found.items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
