"""The damage that a bound on all slopes makes unavoidable where any k of n sources may lie."""

from __future__ import annotations

import math

from aajr._checks import check_count, check_number


def unavoidable_damage(sources: int, liars: int, bound: float, epsilon: float) -> float:
    r"""Least damage of k liars to any f that follows the consensus with ‖∇f‖ ≤ γ everywhere.

    f : ℝⁿ → ℝ follows the consensus if f(z, ..., z) = z for all z. Where n - k honest sources agree
    and k others are off by ε, f is off by at least

    .. math:: \frac{\epsilon}{n}\max\Bigl(0,\ k - \sqrt{(n\gamma^2 - 1)\,k\,(n - k)}\Bigr).

    Some such f attains this bound. At γ = 1/√n it is kε/n, the damage to the mean. For
    γ ≥ 1/√(n - k) it is zero. For smaller γ it grows with ε without limit.

    Args:
        sources: n.
        liars: k.
        bound: γ, at least 1/√n.
        epsilon: ε.

    Raises:
        ValueError: more liars than sources; a γ too small for any f that follows the consensus.

    Example:
        >>> round(unavoidable_damage(5, 2, 5**-0.5, 1.0), 6), unavoidable_damage(5, 2, 0.6, 1.0)
        (0.4, 0.0)
    """
    check_count("sources", sources)
    check_count("liars", liars, minimum=0)
    check_number("epsilon", epsilon)
    check_number("bound", bound)
    if liars > sources:
        raise ValueError(f"liars={liars} exceeds sources={sources}; give at most as many")
    excess = sources * bound**2 - 1
    if excess < -1e-12:
        least = 1 / math.sqrt(sources)
        raise ValueError(
            f"bound={bound:g} lets no map follow the consensus of sources={sources}, whose "
            f"gradient is at least {least:g} there; give at least that"
        )
    spread = math.sqrt(max(0.0, excess) * liars * (sources - liars))
    return epsilon * max(0.0, liars - spread) / sources
