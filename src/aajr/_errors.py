"""Named errors and warnings, one definition for torch and JAX; it loads neither."""

from __future__ import annotations


class ContractError(RuntimeError):
    """An adversary or a penalty broke its contract, for instance a point outside the ball."""


class MaskedGradientWarning(UserWarning):
    """The attack's gradient is zero everywhere, so its failure proves nothing."""


class ResolutionWarning(UserWarning):
    """A difference or a radius is too small for the floating-point precision."""
