"""Settings of proximal policy optimisation; importing them does not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aajr._settings import check_choice, check_count, check_number


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation of one team.

    Attributes:
        environments: episodes collected per iteration, all at once.
        epochs: passes over the collected episodes.
        minibatches: minibatches per epoch.
        learning_rate: learning rate of Adam.
        discount: γ of the return.
        trace: λ of generalised advantage estimation.
        clip: clipping range of the importance ratio.
        entropy: weight of the entropy bonus.
        max_gradient_norm: greatest norm of a parameter gradient; larger ones are clipped.
        hidden: sizes of the hidden layers of actor and critic.
        critic: ``independent`` reads an agent's own observation, ``centralised`` the team's too.
    """

    environments: int = 128
    epochs: int = 2
    minibatches: int = 8
    learning_rate: float = 1e-3
    discount: float = 0.98
    trace: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    max_gradient_norm: float = 1.0
    hidden: tuple[int, ...] = (64, 64)
    critic: Literal["independent", "centralised"] = "independent"

    def __post_init__(self) -> None:
        for name in ("environments", "epochs", "minibatches"):
            check_count(name, getattr(self, name))
        for name in ("learning_rate", "clip", "max_gradient_norm"):
            check_number(name, getattr(self, name), exclusive=True)
        for name in ("discount", "trace"):
            check_number(name, getattr(self, name), maximum=1.0)
        check_number("entropy", self.entropy)
        check_choice("critic", self.critic, ("independent", "centralised"))
