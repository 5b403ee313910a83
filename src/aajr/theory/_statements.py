r"""The statements about the inner loop as functions of numbers.

Throughout, F(δ) = ℓ(π(x + δ)); ℓ is L-smooth and G-Lipschitz in the output on a convex set that
holds the outputs along the segment; d is a unit vector; ‖J d‖ and κ ≥ ‖D²π[d, d]‖ are suprema over
the segment. Numbers are floats or tensors of one shape. The proofs are in the docs under *Theory*.
"""

from __future__ import annotations

from aajr.theory._numbers import Number, curved_loss, ratio, refuse_negative


def effective_smoothness(
    sensitivity: Number, smoothness: Number, lipschitz: Number, curvature: Number
) -> Number:
    """L_eff = L‖J d‖² + G κ, a bound on ``|dᵀ∇²F d|`` that depends only on the step's direction.

    Args:
        sensitivity: ‖J d‖₂.
        smoothness: L of the objective in the output.
        lipschitz: G of the objective in the output.
        curvature: κ, ‖D²π[d, d]‖₂.

    Returns:
        L_eff.

    Example:
        >>> effective_smoothness(2.0, smoothness=1.0, lipschitz=3.0, curvature=0.5)
        5.5
    """
    refuse_negative(
        sensitivity=sensitivity, smoothness=smoothness, lipschitz=lipschitz, curvature=curvature
    )
    return smoothness * sensitivity**2 + lipschitz * curvature


def euclidean_step_limit(smoothness: Number) -> Number:
    """2/L_eff: up to this η, δ ← P(δ + η g) never lowers F; P is the projection on a convex set.

    Args:
        smoothness: L_eff along the step really made.

    Returns:
        The limit of η; infinite where L_eff is zero.

    Example:
        >>> euclidean_step_limit(4.0)
        0.5
    """
    refuse_negative(smoothness=smoothness)
    return ratio(smoothness * 0 + 2, smoothness)


def normalized_step_limit(gradient_norm: Number, smoothness: Number) -> Number:
    """2‖g‖₂/L_eff for δ ← P(δ + η g/‖g‖₂), a Euclidean step of size η/‖g‖₂.

    Args:
        gradient_norm: ‖g‖₂.
        smoothness: L_eff along the step really made.

    Returns:
        The limit of η, in input units.

    Example:
        >>> normalized_step_limit(0.5, smoothness=4.0)
        0.25
    """
    refuse_negative(gradient_norm=gradient_norm, smoothness=smoothness)
    return ratio(2 * gradient_norm, smoothness)


def sign_step_limit(gradient_norm: Number, scale_norm: Number, smoothness: Number) -> Number:
    """2‖s⊙g‖₁/(‖s‖₂² L_eff) for δ ← δ + η s⊙sign(g) **inside** the ball.

    Where the projection clips some coordinates, it may stop exactly those that raise F, and the
    limit does not hold. Then test the step itself with :func:`guaranteed_gain`.

    Args:
        gradient_norm: ‖s⊙g‖₁.
        scale_norm: ‖s‖₂ over the coordinates with g ≠ 0.
        smoothness: L_eff along the step.

    Returns:
        The limit of η, in units of s.

    Example:
        >>> sign_step_limit(3.0, scale_norm=2.0, smoothness=1.5)
        1.0
    """
    refuse_negative(gradient_norm=gradient_norm, scale_norm=scale_norm, smoothness=smoothness)
    return ratio(2 * gradient_norm, scale_norm**2 * smoothness)


def guaranteed_gain(slope: Number, length: Number, smoothness: Number) -> Number:
    """F(δ + r d) - F(δ) ≥ r ⟨g, d⟩ - ½ L_eff r², for any step r d.

    Args:
        slope: ⟨g, d⟩, may be negative.
        length: r.
        smoothness: L_eff along the step.

    Returns:
        The lower bound of the gain. Where it is at least zero, the step does not lower F.

    Example:
        >>> guaranteed_gain(1.0, length=2.0, smoothness=0.5)
        1.0
    """
    refuse_negative(length=length, smoothness=smoothness)
    return slope * length - curved_loss(smoothness, length)


def guaranteed_ascent(step_size: Number, length: Number, smoothness: Number) -> Number:
    """(1/η - L_eff/2) r²: the gain of a Euclidean step with projection, of length r.

    Args:
        step_size: η > 0.
        length: ‖δ_{k+1} - δ_k‖₂.
        smoothness: L_eff along the step.

    Returns:
        The lower bound of F(δ_{k+1}) - F(δ_k).

    Example:
        >>> guaranteed_ascent(0.5, length=1.0, smoothness=2.0)
        1.0
    """
    refuse_negative(step_size=step_size, length=length, smoothness=smoothness)
    return length**2 / step_size - curved_loss(smoothness, length)


def gradient_bound(lipschitz: Number, sensitivity: Number) -> Number:
    """‖∇F‖₂ ≤ G‖J v‖₂ with v = ∇F/‖∇F‖₂; at most Gγ in the admissible class.

    Args:
        lipschitz: G.
        sensitivity: ‖J v‖₂, or γ.

    Returns:
        The upper bound of the inner gradient.

    Example:
        >>> gradient_bound(3.0, sensitivity=0.5)
        1.5
    """
    refuse_negative(lipschitz=lipschitz, sensitivity=sensitivity)
    return lipschitz * sensitivity


def damage_bound(lipschitz: Number, sensitivity: Number, path_length: Number) -> Number:
    """F(δ_K) - F(δ_0) ≤ G γ Σ‖δ_{k+1} - δ_k‖₂ while ‖J d‖ ≤ γ along the segments.

    The bound concerns only the path taken, not all perturbations of the ball.

    Args:
        lipschitz: G.
        sensitivity: γ, the largest ‖J d‖₂ along the segments.
        path_length: Σ‖δ_{k+1} - δ_k‖₂.

    Returns:
        The upper bound of the damage.

    Example:
        >>> damage_bound(2.0, sensitivity=0.5, path_length=0.3)
        0.3
    """
    refuse_negative(lipschitz=lipschitz, sensitivity=sensitivity, path_length=path_length)
    return lipschitz * sensitivity * path_length
