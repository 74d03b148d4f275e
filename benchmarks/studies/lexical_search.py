"""Lexical search on human judgments and on tags, beside bm25s: differences with paired 95 % intervals.

    python -m benchmarks.studies.lexical_search

What the claim `judgments` will compare the hybrid with, before there is a vector of the text.
"""

from benchmarks.judged_searches import judged_searches, tag_searches
from benchmarks.search_data import K, bm25_answers, movielens
from towers.evaluation.bootstrap import paired_bootstrap
from towers.evaluation.search import graded_ndcg, search_metrics


def main() -> None:
    """Prints a line per measure: both means, their difference and its interval."""
    world = movielens()
    texts, grades = judged_searches(world.items)
    ours, bm25 = (
        graded_ndcg(rows, grades, K) for rows in (world.answers(texts), bm25_answers(world.items, texts))
    )
    measures = {f"judgments: N@{K} of {len(texts)} searches": (ours, bm25)}
    tags, targets = tag_searches(world.items)
    by_tag = [
        search_metrics(rows, targets) for rows in (world.answers(tags), bm25_answers(world.items, tags))
    ]
    for name in (f"mrr@{K}", f"success@{K}", "zero_results"):
        measures[f"tags: {name} of {len(tags)} searches"] = (by_tag[0][name], by_tag[1][name])
    for name, (mine, theirs) in measures.items():
        found = paired_bootstrap(mine, theirs)
        print(
            f"{name}: ours {mine.mean():.4f}, BM25 {theirs.mean():.4f}, "
            f"difference {found.difference:.4f} ({found.low:.4f} to {found.high:.4f})"
        )


if __name__ == "__main__":
    main()
