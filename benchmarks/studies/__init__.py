"""Studies: what a choice is worth, measured once for the docs; a claim that must hold is beside them."""
