"""Settings of PPO."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from aajr._settings import check_count, check_number


@dataclass(frozen=True)
class PPOConfig:
    """Settings of a run.

    The defaults have the sizes of the robust-control literature: 2,048 rows an update, ten epochs
    of 32 minibatches, two layers of 64 units. There one environment plays them; here it is 16.

    Attributes:
        steps: environment steps of the run, rounded down to whole rollouts.
        environments: number of environments that are stepped side by side.
        rollout: steps of each environment per update.
        epochs: passes over a rollout.
        minibatches: minibatches of an epoch.
        learning_rate: first learning rate of Adam, which falls linearly to 0.
        discount: γ.
        trace: λ of the generalised advantages.
        clip: the ratio of probabilities is clipped to [1 - clip, 1 + clip].
        max_gradient_norm: greatest norm of a gradient.
        entropy: weight of the entropy bonus.
        value_weight: weight of the squared error of V.
        hidden: units of the hidden layers, of the policy and of V alike; none for linear ones.
        memory: units of an LSTM after the hidden layers, of the policy and of V alike; 0 for none.
        window: steps back through which the gradient of an LSTM goes. Minibatches then consist of
            whole windows.
        scale: size of the policy's last layer at first. A small one starts near 0; one near 1
            starts as a random function of the state, which an attacker explores better with.
        log_std: first log standard deviation of every action.
        segment: updates between checkpoints. Environments begin anew after each, because their
            state cannot be stored.

    Raises:
        ValueError: numbers out of range, a rollout that minibatches do not divide.

    Example:
        >>> PPOConfig().updates
        980
    """

    steps: int = 2_007_040
    environments: int = 16
    rollout: int = 128
    epochs: int = 10
    minibatches: int = 32
    learning_rate: float = 3e-4
    discount: float = 0.99
    trace: float = 0.95
    clip: float = 0.2
    max_gradient_norm: float = 0.5
    entropy: float = 0.0
    value_weight: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    memory: int = 0
    window: int = 16
    scale: float = 0.01
    log_std: float = 0.0
    segment: int = 49

    def __post_init__(self) -> None:
        for name in ("environments", "rollout", "epochs", "minibatches", "window", "segment"):
            check_count(name, getattr(self, name))
        check_count("memory", self.memory, minimum=0)
        for units in self.hidden:
            check_count("hidden", units)
        for name in ("learning_rate", "max_gradient_norm", "clip"):
            check_number(name, getattr(self, name), exclusive=True)
        for name in ("entropy", "value_weight", "scale"):
            check_number(name, getattr(self, name))
        for name in ("discount", "trace"):
            check_number(name, getattr(self, name), maximum=1.0)
        if self.rollout % self.span:
            raise ValueError(
                f"window={self.window} does not divide rollout={self.rollout}; choose one that does"
            )
        if self.rows // self.span % self.minibatches:
            unit = f"windows of {self.span} rows" if self.memory else "rows"
            raise ValueError(
                f"minibatches={self.minibatches} does not divide the {self.rows // self.span} "
                f"{unit} of a rollout, environments={self.environments} times "
                f"rollout={self.rollout}"
            )
        check_count("steps", self.steps, minimum=self.rows)

    @property
    def rows(self) -> int:
        """Rows of a rollout."""
        return self.environments * self.rollout

    @property
    def span(self) -> int:
        """Rows that a minibatch keeps together: a window of an LSTM, else one."""
        return self.window if self.memory else 1

    @property
    def minibatch_updates(self) -> int:
        """Number of updates of the weights, which the schedules of a robust loss count."""
        return self.updates * self.epochs * self.minibatches

    @property
    def updates(self) -> int:
        """Number of rollouts of the run."""
        return self.steps // self.rows


def feed_forward(config: PPOConfig) -> PPOConfig:
    """The settings of an adversary, which has no LSTM."""
    return replace(config, memory=0)


@dataclass(frozen=True)
class Ramp:
    """A radius or weight that grows linearly from 0 and then stays, as a schedule of JAX.

    Attributes:
        value: last value.
        updates: updates after which it is reached, such as ``0.75 * config.minibatch_updates``.

    Raises:
        ValueError: negative numbers, or none of the updates.

    Example:
        >>> Ramp(0.1, 10)(5), Ramp(0.1, 10)(20)
        (0.05, 0.1)
    """

    value: float
    updates: float

    def __post_init__(self) -> None:
        check_number("value", self.value)
        check_number("updates", self.updates, exclusive=True)

    def __call__(self, update: Any) -> Any:
        """The value at an update."""
        share = update / self.updates
        return self.value * (share * (share < 1) + (share >= 1))
