"""An export and a later log → an export that serves the titles of that log, without training."""

from pathlib import Path

from towers.data.dataset import Dataset
from towers.data.split import split, split_of
from towers.exported import read_context
from towers.nets.growth import grown_towers
from towers.nets.two_tower import load_towers
from towers.training.export import export


def grow_export(model_dir: Path, dataset: Dataset, folder: Path) -> None:
    """Writes the export of the same towers over a later Dataset, replacing `folder` as a whole.

    New titles and values have their rows, to be learned from here; until then they are where their metadata
    places them, and all that was known stays where it was. The split, and with it what counts as trained on,
    is the one that the towers were trained under. Raises as `load_towers` and `split` do.
    """
    context = read_context(model_dir)
    parts = split(dataset, split_of(context))
    export(grown_towers(load_towers(model_dir), dataset, parts), dataset, parts, folder, context=context)
