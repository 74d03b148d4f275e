"""Whether the input is inclusive and the output fair, measured: before training, after it, and on cards."""
