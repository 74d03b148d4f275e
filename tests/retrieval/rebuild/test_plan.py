"""Which work follows from which changes: a table of planted facts, least to most."""

import pytest

from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.plan import Facts, Work, decide

UPKEEP = UpkeepSettings(max_added_share=0.05, max_removed_share=0.2)


@pytest.mark.parametrize(
    ("facts", "work", "because"),
    [
        (Facts(num_built=1000), Work.NOTHING, "says what the tables say"),
        (Facts(num_built=1000, histories=True), Work.HISTORIES, "what they watched"),
        (Facts(num_built=1000, num_described=7, histories=True), Work.ELIGIBILITY, "7 titles"),
        (Facts(num_built=1000, num_new=50), Work.DELTA, "50 titles new"),
        (Facts(num_built=1000, num_changed=2, num_described=3), Work.DELTA, "2 titles changed"),
        (Facts(num_built=1000, num_removed=200), Work.DELTA, "200 titles removed"),
        (Facts(num_built=1000, num_new=51), Work.REINDEX, "5.1% of the build would be added"),
        (Facts(num_built=1000, num_new=20, num_added=31), Work.REINDEX, "added titles"),
        (
            Facts(num_built=1000, num_removed=100, num_gone=101),
            Work.REINDEX,
            "20.1% of the build",
        ),
        (Facts(num_built=1000, other_index=True), Work.REINDEX, "index asked for"),
        (Facts(num_built=1000, drifted_vectors=True, other_index=True), Work.REEMBED, "no longer give"),
        (Facts(num_built=1000, other_towers=True, num_new=3), Work.REEMBED, "trained model"),
        (Facts(num_built=1000, retrain=("it is time",), other_index=True), Work.RETRAIN, "it is time"),
        (Facts(is_first=True), Work.RETRAIN, "nothing is published"),
    ],
)
def test_the_least_work_that_brings_all_changes_is_chosen(facts: Facts, work: Work, because: str) -> None:
    chosen, reasons = decide(facts, UPKEEP)
    assert chosen is work
    assert because in reasons[0]
    assert chosen.keeps_the_index == (work in (Work.HISTORIES, Work.ELIGIBILITY, Work.DELTA))
