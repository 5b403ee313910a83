"""Environments, in which many episodes run at once, and whole episodes in them."""
