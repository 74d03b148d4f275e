"""What lowers that towers tell whom they learned from, and what it costs: on the world of claim `membership`.

python -m benchmarks.studies.membership_remedies
"""

import numpy as np

from benchmarks.membership import SERVICE, audit
from towers.data.sources.simulated import read_simulated

SEEDS = (0, 1)
"""Of who is a member."""
REMEDIES = {
    "as the recipe says": (),
    "2 epochs": ("trainer.max_epochs=2",),
    "4 epochs": ("trainer.max_epochs=4",),
    "weight decay .3": ("trainer.weight_decay=0.3",),
    "dropout .4": ("model.dropout=0.4",),
    "event dropout .2": ("model.event_dropout=0.2",),
    "embedding dropout .4": ("model.embedding_dropout=0.4",),
    "id dropout .3": ("model.id_dropout=0.3",),
    "dropout .4, of events .3, of embeddings .3": (
        "model.dropout=0.4",
        "model.event_dropout=0.3",
        "model.embedding_dropout=0.3",
    ),
}


def main() -> None:
    """Prints the highest upper end of the areas of the attacks, and N@10, by remedy and seed, as Markdown."""
    tables = read_simulated(SERVICE)
    drawn = [np.random.default_rng(seed).random(tables.profiles.num_rows) < 0.5 for seed in SEEDS]
    print("| | highest upper end | N@10 |\n|---|---:|---:|", flush=True)
    for name, given in REMEDIES.items():
        found = [audit(tables, is_member, given) for is_member in drawn]
        upper = ", ".join(f"{one.attacks.auc_upper:.3f}" for one in found)
        ndcg = ", ".join(f"{one.ndcg:.4f}" for one in found)
        print(f"| {name} | {upper} | {ndcg} |", flush=True)


if __name__ == "__main__":
    main()
