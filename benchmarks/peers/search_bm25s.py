"""BM25 over texts of one field, by bm25s; run by its own interpreter.

    python search_bm25s.py asked.json answers.json

asked: {"documents": [text, …], "queries": [text, …], "k": places}; answers: a list of documents for each
query, best first, those of score 0 left out.
"""

import json
import sys
from pathlib import Path

import bm25s  # type: ignore[import-not-found]  # of its own environment
from bm25s.tokenization import Tokenizer  # type: ignore[import-not-found]


def main(asked: Path, answers: Path) -> None:
    """Answers the queries of one file in another."""
    given = json.loads(asked.read_text())
    # Every word counts, those of one letter and common ones too: titles are made of them.
    tokenizer = Tokenizer(splitter=r"\w+", stopwords=None)
    index = bm25s.BM25()
    index.index(tokenizer.tokenize(given["documents"], show_progress=False), show_progress=False)
    words = tokenizer.tokenize(given["queries"], update_vocab=False, show_progress=False)
    k = min(given["k"], len(given["documents"]))
    found = []
    for query in words:
        rows, scores = index.retrieve([query], k=k, show_progress=False) if len(query) else ([[]], [[]])
        pairs = zip(rows[0], scores[0], strict=True)
        found.append([int(row) for row, score in pairs if score > 0.0])
    answers.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
