"""How search holds out as texts get worse: slips, no blanks, no accents, and long ones as they are spoken."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from benchmarks.search_data import K, Searched, bm25_answers, main_name, same_name
from benchmarks.streaming_titles import spoken_queries
from towers.data.words import words_of
from towers.evaluation.search import search_metrics
from towers.evaluation.slips import Slip, mistyped

NUM_TITLES, MOST_SLIPS, NUM_SPOKEN = 500, 4, 300
Answer = Callable[[Sequence[str]], Int64[np.ndarray, "Q K"]]


def search_curve(answers: dict[str, Answer], world: Searched, seed: int) -> dict[str, dict[str, object]]:
    """success@1 and @10 of each way to answer, at each point, over the same titles; BM25 is added.

    A search succeeds where a title of the name that was meant stands in the top k. Of spoken utterances
    nobody said which titles they mean: of those the share that has an answer is told.
    """
    rng = np.random.default_rng(seed)
    titles = world.items["title"].to_pylist()
    rows_of: dict[str, list[int]] = {}
    for row, title in enumerate(titles):
        rows_of.setdefault(same_name(title), []).append(row)
    asked = [title for title in titles if sum(map(str.isalpha, main_name(title))) >= 4]
    asked = [asked[place] for place in rng.permutation(len(asked))[:NUM_TITLES].tolist()]
    names, targets = [main_name(title) for title in asked], [rows_of[same_name(title)] for title in asked]
    points = {
        f"{number} slips": [mistyped(name, number, rng) for name in names] for number in range(MOST_SLIPS + 1)
    }
    points["a swap"] = [mistyped(name, 1, rng, [Slip.SWAP]) for name in names]
    points["no blanks"] = ["".join(name.split()) for name in names]
    points["no accents"] = [" ".join(words_of(name)) for name in names]
    points["in a sentence"] = [f"{_LEAD[place % len(_LEAD)]} {name}" for place, name in enumerate(names)]
    answers = {**answers, "BM25": lambda texts: bm25_answers(world.items, texts)}
    curve: dict[str, dict[str, object]] = {}
    for point, texts in points.items():
        curve[point] = {}
        for name, answer in answers.items():
            found = search_metrics(answer(texts), targets)
            curve[point][name] = [round(float(found[f"success@{k}"].mean()), 3) for k in (1, K)]
    spoken = spoken_queries()
    spoken = [spoken[place] for place in rng.permutation(len(spoken))[:NUM_SPOKEN].tolist()]
    curve["spoken, share answered"] = {
        name: round(float((answer(spoken)[:, 0] >= 0).mean()), 3) for name, answer in answers.items()
    }
    return curve


_LEAD = (
    "i would like to watch the movie",
    "can you find me that film called",
    "what was the one with the name",
    "please show us tonight",
)
"""What people say before a title, where they speak."""
