"""Proximal policy optimisation of the arena's own teams and attackers, and checkpoints."""
