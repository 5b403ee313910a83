"""Spaces of observations and actions: features by name, heads, distributions."""
