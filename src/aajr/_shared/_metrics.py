"""The settings of Fisher metrics."""

from __future__ import annotations

from dataclasses import dataclass

from aajr._settings import check_count


@dataclass(frozen=True)
class Categorical:
    """Fisher metric of categorical logits, one or several heads: Σpu² - (Σpu)² per head.

    D is KL(softmax(u) ‖ softmax(w)), summed over heads, and accurate to nearly all digits even
    if the two are very close. A logit of -inf masks an action: its probability is 0. KL would be
    infinite if only w masks an action. Such an action is left out, and D compares the distributions
    over the others. A head that masks everything gives NaN.

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
    """Raise ValueError unless a diagonal Gaussian has an even number of outputs."""
    if outputs % 2:
        raise ValueError(
            f"the policy gives {outputs} outputs, an odd number; a diagonal Gaussian needs "
            "as many log-scales as means, [means, log-scales]"
        )
