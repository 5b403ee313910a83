"""The settings of Fisher metrics."""

from __future__ import annotations

from dataclasses import dataclass

from aajr._settings import check_count


@dataclass(frozen=True)
class Categorical:
    """Fisher metric of categorical logits, one or several heads: Σpu² - (Σpu)² per head.

    D is KL(softmax(u) ‖ softmax(w)), summed over heads, to nearly all digits however close the
    two are. A logit of -inf masks an action: it has probability 0. An action that w alone masks,
    where KL would be infinite, is left out: D compares the choice among the others. A head that
    masks everything gives NaN.

    Attributes:
        heads: sizes of the heads that share the last dimension; None for a single head.

    Source: Amari, Natural gradient works efficiently in learning, 1998.
    """

    heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.heads == ():
            raise ValueError("heads=() is empty; give the sizes of the heads, or None for one head")
        for size in self.heads or ():
            check_count("heads", size, minimum=2)

    def _check_outputs(self, outputs: int) -> None:
        if self.heads is not None and sum(self.heads) != outputs:
            raise ValueError(
                f"heads={self.heads} need {sum(self.heads)} outputs, the policy gives "
                f"{outputs}; make them agree"
            )


@dataclass(frozen=True)
class DiagonalGaussian:
    """Fisher metric of (μ, log σ), halves of the last dimension: ‖Δμ/σ‖² + 2‖Δlog σ‖².

    D is KL(N(μ, σ²) ‖ N(μ', σ'²)).

    Source: Amari, Natural gradient works efficiently in learning, 1998.
    """


def check_halves(outputs: int) -> None:
    """Raise ValueError unless the outputs of a diagonal Gaussian are even in number."""
    if outputs % 2:
        raise ValueError(
            f"the policy gives {outputs} outputs, an odd number; a diagonal Gaussian needs "
            "as many log-scales as means, [means, log-scales]"
        )
