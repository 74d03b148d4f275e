"""A text → its vector among those of the items, with who asks or without, by a release's query tower."""

from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from retrieval.index.allowed import Allowed
from retrieval.query_vectors import QueryVectors
from retrieval.search.text_kernels import TextWeights, text_vector, word_means
from retrieval.vectors import VectorAnswers
from towers.data.ngrams import LONGEST, SHORTEST
from towers.data.words import words_of
from towers.errors import ReleaseError
from towers.evaluation.cut import cut
from towers.nets.query_tower import QueryTower, load_query_tower, query_fingerprint
from towers.recommender import PAD

DEPTH = 100
"""So many titles, or k where it is more, a vector finds."""


class TextVectors:
    """Reads texts by a query tower, one at a time and to 1e-5 as it does. Safe for any number of readers.

    dimension: so many of its vectors' first numbers are given, of unit length again. fingerprint: SHA-256 of
    the query tower, the same for every copy of one export.
    """

    def __init__(self, tower: QueryTower, dimension: int, fingerprint: str) -> None:
        self.dimension = dimension
        self.fingerprint = fingerprint
        self._max_words, self._temperature = tower.settings.max_words, tower.settings.temperature
        self._table, self._learned = _array(tower.gram.weight), tower.learned.numpy()
        self._weights = _weights_of(tower)
        self._backbone, self._nothing = tower.backbone, np.zeros(tower.dim, np.float32)
        layer = tower.beside
        self._beside = None if layer is None else (_array(layer.weight), _array(layer.bias))
        self.encode("a")  # compiles

    def encode(
        self, text: str, user: Float32[np.ndarray, "1 *K D"] | None = None
    ) -> Float32[np.ndarray, "1 *K D"] | None:
        """The unit vector of a text, together with that of who asks where there is one, as it is encoded.

        Without who asks it is that of the text alone. Words of which nothing was ever learned are left out;
        None where none is left. A backbone reads all of them: then None is for a text without words.
        """
        words = words_of(text)[: self._max_words]
        word = self._words(words)
        if not words or (len(word) == 0 and self._backbone is None):
            return None
        whole = np.empty((1, word.shape[1]), np.float32)
        gate = text_vector(word, self._meant(words), self._weights, whole[0])
        vector = cut(whole, self.dimension)
        if user is None:
            return vector
        both = (vector if user.ndim == 2 else vector[:, None]) + gate * user
        return cut(both.astype(np.float32), self.dimension)

    def likeliest(
        self,
        vector: Float32[np.ndarray, "1 D"],
        found: Float32[np.ndarray, "n D"],
        num_events: Int64[np.ndarray, " n"],
    ) -> Int64[np.ndarray, " n"]:
        """The order of titles by how likely a text by nobody in particular is for each, the likeliest first.

        log p(i | text) = <t, v_i> / temperature + log(1 + n_i) + …: most texts learned from are for any title
        alike, and what is watched more is searched for more. found: their vectors; num_events: n, their
        popularity.
        """
        logits = found @ vector[0] / self._temperature + np.log1p(num_events)
        order: np.ndarray = np.argsort(-logits, kind="stable")
        return order

    def _meant(self, words: list[str]) -> Float32[np.ndarray, " D"]:
        """What the backbone adds to the words; zeros without one."""
        if self._backbone is None or self._beside is None:
            return self._nothing
        weight, bias = self._beside
        (embedded,) = self._backbone.embed([" ".join(words)])
        added: np.ndarray = weight @ embedded + bias
        return added

    def _words(self, words: list[str]) -> Float32[np.ndarray, "w D"]:
        """The vectors of the words that something was learned of."""
        marked = [f"<{word}>".encode() for word in words]
        edge = np.cumsum([0, *map(len, marked)])
        out = np.empty((len(words) + 1, self._table.shape[1]), np.float32)
        byte = np.frombuffer(b"".join(marked) or b" ", np.uint8)
        size = word_means(byte, edge, SHORTEST, LONGEST, self._table, self._learned, out)
        return out[:size]


def load_text_vectors(folder: Path, towers: str, width: int, dimension: int) -> TextVectors | None:
    """What reads the texts of a release; None where it has no query tower: texts are then found by words.

    towers: the fingerprint of its towers, whose item vectors are `width` wide; dimension: how many of their
    first numbers are searched. Raises ReleaseError where the query tower is not theirs.
    """
    tower = load_query_tower(folder, towers)
    if tower is None:
        return None
    if tower.dim != width:
        raise ReleaseError(f"{folder}: the query tower's vectors have {tower.dim} numbers; expected {width}")
    return TextVectors(tower, dimension, query_fingerprint(folder))


def meant(
    texts: TextVectors,
    answers: VectorAnswers,
    num_events: Int64[np.ndarray, " N"],
    text: str,
    user: Float32[np.ndarray, "1 *K D"] | None,
    k: int,
    allowed: Allowed,
) -> Int64[np.ndarray, " n"] | None:
    """The items that a text means, of those allowed, best first; None of a text that it knows nothing of.

    DEPTH of them, or k where it is more. user: the vector of who asks; without, popularity counts.
    """
    vector = texts.encode(text, user)
    if vector is None:
        return None
    asked = QueryVectors(vector, answers.encoder.fingerprint)
    row = answers.nearest(asked, max(k, DEPTH), allowed).item_row[0]
    row = row[row != PAD]
    if user is None:
        row = row[texts.likeliest(vector, answers.vectors[row], num_events[row])]
    found: np.ndarray = row
    return found


def _weights_of(tower: QueryTower) -> TextWeights:
    """The layers of a query tower as the kernel reads them."""
    weigh_norm, weigh = _layers(tower.weigh)
    refine_norm, inner, outer = _layers(tower.refine)
    gate_norm, gate = _layers(tower.gate)
    return TextWeights(
        before=_array(tower.before.weight.T),
        place=_array(tower.place.weight),
        weigh_norm=np.stack(weigh_norm),
        weigh=weigh[0][0],
        weigh_bias=weigh[1],
        refine_norm=np.stack(refine_norm),
        inner=np.ascontiguousarray(inner[0].T),
        inner_bias=inner[1],
        outer=np.ascontiguousarray(outer[0].T),
        outer_bias=outer[1],
        middle=_array(tower.middle),
        gate_norm=np.stack(gate_norm),
        gate=gate[0][0],
        gate_bias=gate[1],
    )


def _layers(layers: nn.Module) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of the norm and of each linear layer, in their order."""
    held = [one for one in layers.children() if isinstance(one, nn.LayerNorm | nn.Linear)]
    return [(_array(one.weight), _array(cast("Tensor", one.bias))) for one in held]


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = np.array(value.detach().cpu().float().numpy(), order="C")
    return array
