"""Small audiences whose truth is known."""

import numpy as np

from towers.audit.segments import Audience, Dimension


def audience(
    country: list[str], num_events: list[int] | None = None, household: list[int] | None = None
) -> Audience:
    num = len(country)
    return Audience(
        {Dimension.COUNTRY: np.array(country, dtype=np.str_)},
        np.array(num_events if num_events is not None else [10] * num, np.int64),
        np.array(household if household is not None else range(num), np.int64),
    )
