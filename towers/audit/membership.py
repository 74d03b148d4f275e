"""Does a model tell who was in its training data? Membership inference by how well it knows a history.

An attacker who has somebody's history scores it with the model, and says "was learned from" where the score
is high. Members are profiles that were learned from, others are of the same service and were not; what tells
them apart is what the model learned by heart. Reported are the area under the ROC curve and the true
positives at one per cent of false ones, as advised by Carlini et al., S&P 2022,
doi:10.1109/SP46214.2022.9833649.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float32, Int64

from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.errors import QueryError
from towers.evaluation.exact import ExactRecommender
from towers.recommender import Queries

FALSE_POSITIVES = 0.01
_NUM_RESAMPLES = 1000
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Attack:
    """How well one score tells members from others, with intervals.

    auc: P(member's > other's) + P(equal) / 2; one half is nothing. tpr: members found where 1 % of the others
    are taken for some. The interval of auc is DeLong's, that of tpr a bootstrap over both groups.
    """

    num_members: int
    num_others: int
    auc: float
    auc_low: float
    auc_high: float
    tpr: float
    tpr_low: float
    tpr_high: float


@dataclass(frozen=True, slots=True)
class MembershipReport:
    """Several attacks, all at a joint level of confidence: the strongest one counts."""

    attacks: Mapping[str, Attack]

    @property
    def auc_upper(self) -> float:
        """No attack here is better than this: the highest upper end."""
        return max(attack.auc_high for attack in self.attacks.values())

    @property
    def leaks(self) -> bool:
        """Whether an attack is better than chance beyond doubt."""
        return any(attack.auc_low > 0.5 for attack in self.attacks.values())

    def passes(self, most: float) -> bool:
        """Whether every attack is within the bound beyond doubt."""
        return self.auc_upper <= most


def audit_membership(
    scores: Mapping[str, Float[np.ndarray, " P"]], is_member: np.ndarray, level: float = 0.95
) -> MembershipReport:
    """Every attack by its scores of P profiles, higher for members; intervals hold together (Bonferroni)."""
    each = 1.0 - (1.0 - level) / max(len(scores), 1)
    return MembershipReport(
        {name: attack(score[is_member], score[~is_member], each) for name, score in scores.items()}
    )


def attack(
    member: Float[np.ndarray, " m"], other: Float[np.ndarray, " n"], level: float = 0.95, seed: int = 0
) -> Attack:
    """How well a score tells members from others; QueryError where a group has fewer than two, or NaN."""
    auc, low, high = area(member, other, level)
    rng = np.random.default_rng(seed)
    drawn = [
        _tpr(rng.choice(member, len(member)), rng.choice(other, len(other))) for _ in range(_NUM_RESAMPLES)
    ]
    tail = (1.0 - level) / 2.0
    tpr_low, tpr_high = np.quantile(drawn, [tail, 1.0 - tail]).tolist()
    return Attack(len(member), len(other), auc, low, high, _tpr(member, other), tpr_low, tpr_high)


def area(
    member: Float[np.ndarray, " m"], other: Float[np.ndarray, " n"], level: float = 0.95
) -> tuple[float, float, float]:
    """The area under the ROC curve, and the ends of its interval; QueryError as `attack` says.

    Var(auc) = var(V_i) / m + var(W_j) / n, with V_i the share of others below member i and W_j that of
    members above other j. Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988, doi:10.2307/2531595.
    """
    m, n = len(member), len(other)
    if min(m, n) < 2 or not (np.isfinite(member).all() and np.isfinite(other).all()):
        raise QueryError(f"membership: {m} members and {n} others; expected two of each, all scores finite")
    below = _share_below(member, other)
    above = 1.0 - _share_below(other, member)
    auc = float(below.mean())
    deviation = float(np.sqrt(below.var(ddof=1) / m + above.var(ddof=1) / n))
    spread = NormalDist().inv_cdf((1.0 + level) / 2.0) * deviation
    return auc, max(auc - spread, 0.0), min(auc + spread, 1.0)


def history_scores(
    model: ExactRecommender,
    dataset: Dataset,
    history: Histories,
    num_watches: Int64[np.ndarray, " N"],
    *,
    temperature: float,
    most_events: int = 5,
) -> dict[str, Float32[np.ndarray, " P"]]:
    """What an attacker reads from a model of each history of two events or more, higher where it knows it.

    The newest `most_events` are each asked for from those before: loss is the mean of log p(title), softmax
    over the catalogue; harder than it looks takes from that what popularity says of it, as a title that all
    watch is known of anybody; rank is minus the mean logarithm of its rank. temperature: of the training.
    num_watches: of each title, as far as the attacker knows it. Profiles with a shorter history score 0.
    """
    profile, place = _asked(history, most_events)
    first = history.offset[profile]
    target = history.item_row[first + place]
    popularity = np.log((num_watches + 1.0) / (num_watches + 1.0).sum())
    item = torch.from_numpy(model.item_vectors)
    told = np.empty((3, len(profile)))
    for start in range(0, len(profile), _BATCH):
        part = slice(start, start + _BATCH)
        queries = _queries(dataset, history, profile[part], place[part])
        score = _scores(torch.from_numpy(model.encode(queries)), item) / temperature
        of_target = score.gather(1, torch.from_numpy(target[part].astype(np.int64))[:, None])[:, 0]
        log_p = (of_target - score.logsumexp(1)).double().numpy()
        rank = 1 + (score > of_target[:, None]).sum(1).numpy()
        told[:, part] = log_p, log_p - popularity[target[part]], -np.log(rank)
    num = np.maximum(np.bincount(profile, minlength=len(history)), 1)
    means = [np.bincount(profile, one, minlength=len(history)) / num for one in told]
    names = ("loss", "harder than it looks", "rank")
    return {name: mean.astype(np.float32) for name, mean in zip(names, means, strict=True)}


def blind_scores(
    history: Histories,
    num_watches: Int64[np.ndarray, " N"],
    is_member: Bool[np.ndarray, " P"],
    *,
    most_events: int = 5,
) -> dict[str, Float32[np.ndarray, " P"]]:
    """What tells histories apart without any model, of the events that `history_scores` asks for.

    The mean logarithm of how many others watched a title, and the number of events. num_watches: train events
    of each title, those of members among them: a member's own is not counted.
    """
    profile, place = _asked(history, most_events)
    target = history.item_row[history.offset[profile] + place]
    watched = np.log(num_watches[target] - is_member[profile] + 1.0)
    num = np.maximum(np.bincount(profile, minlength=len(history)), 1)
    popularity = np.bincount(profile, watched, minlength=len(history)) / num
    return {
        "popularity": popularity.astype(np.float32),
        "number of events": history.lengths.astype(np.float32),
    }


def _asked(history: Histories, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The profile and the place of each event that is asked for: the newest ones that have one before."""
    lengths = history.lengths
    num = np.clip(lengths - 1, 0, most)
    profile = np.repeat(np.arange(len(history)), num)
    behind = np.arange(len(profile)) - np.repeat(np.cumsum(num) - num, num)
    return profile, lengths[profile] - 1 - behind


def _queries(dataset: Dataset, history: Histories, profile: np.ndarray, place: np.ndarray) -> Queries:
    before = history.select(profile).first(place)
    time = history.time_seconds[history.offset[profile] + place]
    table = dataset.profile_table.take(pa.array(profile))
    return Queries(before, time, dataset.country[profile], table)


def _scores(query: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """Inner products; of several interests the best."""
    return query @ item.T if query.ndim == 2 else (query @ item.T).amax(1)


def _share_below(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each of one, the share of the other that is lower, equal ones counting half."""
    ordered = np.sort(other)
    lower, upper = (np.searchsorted(ordered, one, side) for side in ("left", "right"))
    share: np.ndarray = (lower + upper) / (2.0 * len(other))
    return share


def _tpr(member: np.ndarray, other: np.ndarray) -> float:
    """Members above the score that one per cent of the others at most are above."""
    num_above = int(FALSE_POSITIVES * len(other))
    bound = np.sort(other)[len(other) - 1 - num_above]
    return float((member > bound).mean())
