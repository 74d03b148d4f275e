"""What titles are made of, as a sparse table: genres, people and other words of the items table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64, Int64

from towers.data.columns import listed_texts
from towers.data.histories import Histories, runs


@dataclass(frozen=True, slots=True)
class ItemTokens:
    """Which of T tokens each of N items has, every one once.

    item_row, token: int64 (V,), the pairs by item, then token.
    item_offset: int64 (N+1,), item i has the pairs item_offset[i]:item_offset[i+1].
    by_token: int64 (V,), the pairs by token, then item; item_by_token: int64 (V,), their items.
    token_offset: int64 (T+1,), token t has the places token_offset[t]:token_offset[t+1] of these two.
    """

    item_row: Int64[np.ndarray, " V"]
    token: Int64[np.ndarray, " V"]
    item_offset: Int64[np.ndarray, " N1"]
    by_token: Int64[np.ndarray, " V"]
    item_by_token: Int64[np.ndarray, " V"]
    token_offset: Int64[np.ndarray, " T1"]

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.item_offset) - 1

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.token_offset) - 1

    @property
    def num_of_item(self) -> Int64[np.ndarray, " N"]:
        """Tokens of each item."""
        return np.diff(self.item_offset)

    @property
    def num_of_token(self) -> Int64[np.ndarray, " T"]:
        """Items of each token."""
        return np.diff(self.token_offset)

    def gather(
        self, value: Float64[np.ndarray, " V"], history: Histories, weight: Float64[np.ndarray, " E"]
    ) -> Float64[np.ndarray, "Q T"]:
        """Per query and token, the sum over the history's events of their weight times the pair's value."""
        length = self.num_of_item[history.item_row]
        pair = runs(self.item_offset[history.item_row], length)
        event = np.repeat(np.arange(history.num_events), length)
        cell = history.profile_rows()[event] * self.num_tokens + self.token[pair]
        sums = np.bincount(cell, weight[event] * value[pair], len(history) * self.num_tokens)
        return sums.astype(np.float64).reshape(len(history), self.num_tokens)

    def spread(
        self, value: Float64[np.ndarray, " V"], taste: Float64[np.ndarray, "Q T"]
    ) -> Float32[np.ndarray, "Q N"]:
        """Per query and item, the sum over the item's tokens of the pair's value times the query's taste.

        value: in the order of `by_token`. Only items of tokens that a query has a taste for are looked at,
        query by query: what one looks at fits a processor's cache, what a batch does would not.
        """
        scores = np.zeros((len(taste), self.num_items), np.float32)
        for query in range(len(taste)):
            token = np.flatnonzero(taste[query])
            length = self.num_of_token[token]
            place = runs(self.token_offset[token], length)
            part = np.repeat(taste[query, token], length) * value[place]
            scores[query] = np.bincount(self.item_by_token[place], part, self.num_items)
        return scores


def read_tokens(items: pa.Table, columns: Sequence[tuple[str, int]], *, rest: bool) -> ItemTokens:
    """The tokens of some columns of lists; the same text in two columns is two tokens.

    columns: names, each with how many values of a list count, 0 for all.
    rest: whether items without any token share one of their own, the last.
    Raises SchemaError where the table has no such column.
    """
    num_tokens = 0
    rows, tokens = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for column, first in columns:
        row, text = listed_texts(items, column, first)
        coded = text.dictionary_encode()
        rows.append(row)
        tokens.append(coded.indices.to_numpy().astype(np.int64) + num_tokens)
        num_tokens += len(coded.dictionary)
    row, token = np.concatenate(rows), np.concatenate(tokens)
    if rest:
        without = np.flatnonzero(np.bincount(row, minlength=items.num_rows) == 0)
        row = np.concatenate([row, without])
        token = np.concatenate([token, np.full(len(without), num_tokens)])
        num_tokens += 1
    item_row, token = np.divmod(np.unique(row * max(1, num_tokens) + token), max(1, num_tokens))
    by_token = np.argsort(token, kind="stable")
    return ItemTokens(
        item_row=item_row,
        token=token,
        item_offset=np.searchsorted(item_row, np.arange(items.num_rows + 1)),
        by_token=by_token,
        item_by_token=item_row[by_token],
        token_offset=np.searchsorted(token[by_token], np.arange(num_tokens + 1)),
    )
