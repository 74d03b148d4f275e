"""The mean of an attack over services: its interval is as wide as it says."""

from statistics import NormalDist

import numpy as np

from benchmarks.membership import pooled
from towers.audit.membership import Attack, MembershipReport, area

NUM_SERVICES, NUM_PROFILES, NUM_RUNS = 8, 30, 400


def test_the_interval_of_the_mean_holds_the_true_area_as_often_as_it_says() -> None:
    # Scores of members are normal around shift, those of others around 0: the area is known.
    shift, rng = 0.3, np.random.default_rng(0)
    truth = NormalDist().cdf(shift / np.sqrt(2.0))
    held = 0
    for _ in range(NUM_RUNS):
        drawn = rng.normal(size=(NUM_SERVICES, 2, NUM_PROFILES))
        found = pooled([_report(one + shift, other) for one, other in drawn]).attacks["one"]
        held += found.auc_low <= truth <= found.auc_high
    # Three deviations of a share of .9.
    assert abs(held / NUM_RUNS - 0.9) < 3 * np.sqrt(0.9 * 0.1 / NUM_RUNS)
    assert found.num_members == found.num_others == NUM_SERVICES * NUM_PROFILES


def test_the_strongest_attack_of_all_services_counts() -> None:
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(3, 2, 200))
    blind, seeing = ([_report(one + shift, other) for one, other in drawn] for shift in (0.0, 4.0))
    both = [
        MembershipReport({"blind": a.attacks["one"], "seeing": b.attacks["one"]})
        for a, b in zip(blind, seeing, strict=True)
    ]
    found = pooled(both)
    assert found.attacks["seeing"].auc_low > 0.95
    assert found.auc_upper == found.attacks["seeing"].auc_high
    assert found.attacks["blind"].auc_low < 0.5 < found.attacks["blind"].auc_high


def _report(member: np.ndarray, other: np.ndarray) -> MembershipReport:
    return MembershipReport(
        {"one": Attack(len(member), len(other), *area(member, other, 0.9), 0.0, 0.0, 0.0)}
    )
