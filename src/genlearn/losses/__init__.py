"""Losses: pure in the parameters, (nets, batch, rng) -> scalar; never a backward pass, never a step."""
