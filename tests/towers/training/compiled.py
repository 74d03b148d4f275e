"""Compiled blocks beside the same blocks as written: python compiled.py. Prints graphs and differences.

A process of its own: the shape checks of the test suite are no code to compile.
"""

from dataclasses import replace

import torch

from tests.towers.training.modules import gradients, module_and_batches
from tests.towers.training.worlds import MANY_STEPS, nothing_dropped, uneven_split
from towers.training.compiling import compile_layers


def main() -> None:
    """Every batch of an epoch, no two of one shape, before and after."""
    settings = replace(
        MANY_STEPS,
        model=replace(nothing_dropped(MANY_STEPS.model), max_history=40),
        loader=replace(MANY_STEPS.loader, batch_positions=80),
    )
    module, batches = module_and_batches(uneven_split(), settings)
    before = [module.batch_loss(batch)[0] for batch in batches]
    expected = [gradients(module, loss) for loss in before]
    names = list(module.state_dict())
    compile_layers(module.towers.pairs()[0].users.blocks, torch.device("cpu"))
    of_loss = of_gradient = 0.0
    for batch, loss, wanted in zip(batches, before, expected, strict=True):
        again = module.batch_loss(batch)[0]
        of_loss = max(of_loss, abs(again.item() - loss.item()))
        for name, gradient in gradients(module, again).items():
            of_gradient = max(of_gradient, float((gradient - wanted[name]).abs().max()))
    shapes = {(len(batch), batch.longest) for batch in batches}
    num_graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    print(len(shapes), num_graphs, of_loss, of_gradient, list(module.state_dict()) == names)


if __name__ == "__main__":
    main()
