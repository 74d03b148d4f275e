"""How the query tower is trained; imports no Lightning, so that what only names it starts fast."""

from dataclasses import dataclass, field

from towers.nets.query_tower import QueryTowerSettings
from towers.settings import bounded


@dataclass(frozen=True, slots=True)
class QueryFitSettings:
    """How the query tower is trained.

    epochs: over the logged searches and the texts made; 0 trains none, and the release answers texts by words
    alone. texts_per_title: texts made of the catalogue, for each title; most_texts: of all of them together,
    and of those logged. min_profiles: a logged text that fewer profiles searched for is not learned from;
    what is logged without a profile is. most_asked: so many of the texts made are asked by a profile at most.
    batch: texts of a step. learning_rate: peak of a cosine with linear warm-up. most_scored: so many titles
    are scored in a step at most: of more, those that the batch asks for, those like them in name or people,
    and so many others at random.
    backbone: the folder of a sentence-transformers model that reads texts beside their words and n-grams, and
    becomes part of the export; null reads none. It needs the extra `text`. backbone_tokens: so many of a text
    are read by it; backbone_batch: texts at once, while training.
    """

    model: QueryTowerSettings = field(default_factory=QueryTowerSettings)
    epochs: int = bounded(4, ge=0)
    texts_per_title: int = bounded(20, ge=1)
    most_texts: int = bounded(60_000, ge=1)
    min_profiles: int = bounded(3, ge=1)
    most_asked: int = bounded(20_000, ge=0)
    batch: int = bounded(256, ge=1)
    learning_rate: float = bounded(3e-3, gt=0.0)
    most_scored: int = bounded(16_384, ge=2)
    backbone: str | None = None
    backbone_tokens: int = bounded(64, ge=3)
    backbone_batch: int = bounded(64, ge=1)
