import itertools
from pathlib import Path

import torch

from tests.towers.objectives.two_ranks import joined, learned, run
from towers.objectives.gathered import gathered, gathered_sizes, share_of_all
from towers.processes import forked

PROCESSES = forked("tests.towers.objectives.two_ranks")


def test_two_ranks_learn_what_one_process_learns_from_the_joined_batch(tmp_path: Path) -> None:
    cases = [[4, 3], [6, 1], [7, 0]]
    ranks = [PROCESSES.Process(target=run, args=(rank, cases, tmp_path)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    expected = learned(joined())
    for case, rank in itertools.product(range(len(cases)), range(2)):
        found = torch.load(tmp_path / f"case{case}_rank{rank}.pt", weights_only=True)
        assert len(found) == len(expected) == 5
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_one_process_gathers_what_it_has() -> None:
    own = torch.randn(3, 2, requires_grad=True)
    assert gathered(own) is own
    assert gathered_sizes(own) == [3]
    assert share_of_all(torch.tensor([0.5, 2.0])).item() == 1.0
