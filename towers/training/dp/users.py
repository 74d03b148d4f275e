"""The user tower for many profiles at once, with the gradient of each by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import pad_sequence

from towers.data.batches import Batch, Positions
from towers.nets.two_tower import TwoTower
from towers.nets.user_tower import UserTower


@dataclass(frozen=True, slots=True)
class _Window(Batch):
    """One window of T positions, of which the last ones may be padding: nothing reads what lies behind it."""

    at: Positions | None = None

    def positions(self) -> Positions:
        """All T; those of the padding are as before any event."""
        assert self.at is not None
        return self.at


@dataclass(frozen=True, slots=True)
class Lines:
    """c windows, a line each, padded to T positions.

    position: the columns of `Positions`, (c, T); its item_row is a place among the line's own events.
    event_row: int64 (c, T), the title of each event shown, 0 beyond. profile_row, profile_numeric: (c, 1, …).
    """

    seen: Bool[Tensor, "c T"]
    event_row: Int64[Tensor, "c T"]
    seconds: Int64[Tensor, "c T"]
    minutes: Float32[Tensor, "c T"]
    asked_seconds: Int64[Tensor, "c T"]
    profile_row: Int32[Tensor, "c 1 C"]
    profile_numeric: Float32[Tensor, "c 1 F2"]

    @classmethod
    def of(cls, windows: Sequence[Batch]) -> "Lines":
        """Of batches of one window each."""
        each = [window.positions() for window in windows]

        def padded(columns: list[Tensor], value: float = 0.0) -> Tensor:
            return pad_sequence(columns, batch_first=True, padding_value=value)

        return cls(
            padded([one.seen for one in each]),
            padded([one.item_row for one in each]),
            padded([one.seconds for one in each]),
            padded([one.minutes for one in each], torch.nan),
            padded([one.asked_seconds for one in each]),
            torch.stack([window.profile_row for window in windows]),
            torch.stack([window.profile_numeric for window in windows]),
        )


class UsersByProfile:
    """Query vectors of c profiles, of which each was computed by weights of its own: copies, all the same.

    The gradient by a profile's copy is that of the profile. The user tower must drop nothing.
    """

    def __init__(self, towers: TwoTower, lines: Lines, vectors: Float[Tensor, "N D"]) -> None:
        self.events = vectors.detach()[lines.event_row].requires_grad_()
        self.weights: list[Tensor] = []
        num = len(lines.seen)
        found = []
        for place, member in enumerate(towers.pairs()):
            copies = {
                name: weight.detach().expand(num, *weight.shape).requires_grad_()
                for name, weight in member.users.named_parameters()
            }
            self.weights += copies.values()
            # Each member's part of the events' vectors, as of the catalogue's.
            part = towers.parts(self.events.flatten(0, 1))[place].view(num, self.events.shape[1], -1)
            with sdpa_kernel(SDPBackend.MATH):  # the kernels of attention know no copies of weights
                found.append(_vectors(member.users, copies, lines, part))
        self.query = found[0] if len(found) == 1 else torch.cat(found, dim=-1) / len(found) ** 0.5

    def gradients(self, of_query: Tensor) -> tuple[list[Tensor], Float[Tensor, "c T D"]]:
        """By each weight, (c, …), and by the vectors of the events shown, of the sum with these factors."""
        *of_weights, of_events = torch.autograd.grad(
            self.query, [*self.weights, self.events], of_query, materialize_grads=True
        )
        return of_weights, of_events


def _vectors(users: UserTower, copies: dict[str, Tensor], lines: Lines, events: Tensor) -> Tensor:
    length = lines.seen.shape[1]
    place = torch.arange(length, device=lines.seen.device)
    none, one = torch.zeros_like(place), torch.ones(1, dtype=torch.int64, device=place.device)

    def of_one(
        weights: dict[str, Tensor],
        seen: Tensor,
        seconds: Tensor,
        minutes: Tensor,
        asked_seconds: Tensor,
        profile_row: Tensor,
        profile_numeric: Tensor,
        own_events: Tensor,
    ) -> Tensor:
        # A position's event is the one of its own line.
        at = Positions(none, place, seen, place, seconds, minutes, asked_seconds)
        window = _Window(
            (length - 1) * one,
            (length - 1) * one,
            one > 0,
            asked_seconds[-1:],
            profile_row,
            profile_numeric,
            place,
            seconds,
            minutes,
            torch.ones_like(minutes),
            length - 1,
            at,
        )
        vectors: Tensor = functional_call(users, weights, (window, own_events))
        return vectors

    columns = (lines.seen, lines.seconds, lines.minutes, lines.asked_seconds)
    found: Tensor = vmap(of_one)(copies, *columns, lines.profile_row, lines.profile_numeric, events)
    return found
