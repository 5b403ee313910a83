"""A team that learns: actor, critic, optimiser and robust loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import ProbabilisticActor
from torchrl.objectives import ClipPPOLoss

from aajr._seeds import derive
from aajr._shared import placed_loss
from aajr.adversaries import Adversary, Critic, Replayed, with_epsilon
from aajr.arena.agents.actors import Actor, TanhNetwork, mlp
from aajr.arena.attacks.critics import OnlineValue
from aajr.arena.spaces.distributions import CategoricalHeads
from aajr.arena.training.collection import LearningTeam
from aajr.arena.training.ppo import PPOConfig
from aajr.arena.training.ppo_update import (
    clipped_gradients,
    clipped_loss,
    load_training_state,
    minibatches,
    training_state,
)
from aajr.geometry import Ball, Categorical
from aajr.hide_and_seek.training.builders import (
    build_adversary,
    build_objective,
    build_penalty,
)
from aajr.hide_and_seek.training.config import LearnerConfig, PenaltyConfig
from aajr.minimax import Minimax, Placement, RobustLoss
from aajr.schedules import DualAscent, Linear
from aajr.theory import measure_ascent
from aajr.trajectory import Objective, Trajectory

_PENALISED_SHARE = 1 / 8
_MEASURED_ROWS = 64
_PLACEMENTS: dict[str, Placement] = {
    "update": "adversarial",
    "rollout": "clean",
    "mixed": "mixed",
}


class UpdateLog:
    """Measurements of one iteration: a list of numbers for every quantity."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def add(self, numbers: Mapping[str, float]) -> None:
        """Add the numbers of one update."""
        for name, number in numbers.items():
            self.values.setdefault(name, []).append(number)

    def summary(self) -> dict[str, float]:
        """Mean over the updates; for norms also variance, maximum and maximum over median."""
        result: dict[str, float] = {}
        for name, values in self.values.items():
            sample = torch.tensor(values, dtype=torch.float64)
            result[name] = float(sample.mean())
            if name.endswith("norm"):
                median, largest = float(sample.median()), float(sample.max())
                result[f"{name}_variance"] = float(sample.var(correction=0))
                result[f"{name}_median"] = median
                result[f"{name}_largest"] = largest
                result[f"{name}_largest_over_median"] = largest / median if median else 0.0
        return result


class Learner:
    """A team's networks and how they are updated.

    Args:
        config: the run.
        actor: function from the source of the initial weights to the untrained actor.
        critic_features: size of the critic's input.
        mask: mask of the attackable features; its device is the device of all networks.
        attack: function from an objective and ε to the adversary on the observations.
        seed: seed of the initial weights and of the robust loss.
    """

    def __init__(
        self,
        config: LearnerConfig,
        actor: Callable[[torch.Generator], Actor],
        critic_features: int,
        mask: Tensor,
        attack: Callable[[Objective, float], Adversary],
        seed: int,
    ) -> None:
        self.config = config
        self.mask = mask
        self.seed = seed
        self._updates = config.ppo.epochs * config.ppo.minibatches
        generator = torch.Generator().manual_seed(seed)
        self.actor = actor(generator)
        self.critic = TanhNetwork(*mlp(critic_features, 1, config.ppo.hidden, generator))
        self.value = OnlineValue(self.actor.features, sum(self.actor.heads), generator)
        # no layer differs in evaluation mode, which attacks would set and reset at every call
        self.modules().to(mask.device).eval()
        self.ppo_loss = _ppo_loss(self.critic, self.actor.heads, config.ppo)
        self.optimizer = torch.optim.Adam(self.modules().parameters(), lr=config.ppo.learning_rate)
        self.objective = build_objective(config.adversary, self.actor.heads, self.value)
        self._build_attack = attack
        self.attack = attack(self.objective, config.adversary.epsilon)
        self.minimax = self._build_minimax()

    def modules(self) -> nn.ModuleDict:
        """All networks by name."""
        return nn.ModuleDict({"actor": self.actor, "critic": self.critic, "value": self.value})

    def load_initial(self, weights: Mapping[str, Tensor]) -> None:
        """Start from given actor and critic weights, named ``actor.*`` and ``critic.*``."""
        chosen = {k: v for k, v in weights.items() if k.startswith(("actor.", "critic."))}
        missing, unexpected = self.modules().load_state_dict(chosen, strict=False)
        absent = [name for name in missing if not name.startswith("value.")]
        if absent or unexpected:
            raise ValueError(
                f"initial weights do not fit: missing {absent}, unexpected {unexpected}; use a "
                "checkpoint of the same networks"
            )

    def state(self) -> dict[str, Tensor]:
        """Tensors by name that are needed to resume training exactly."""
        tensors = training_state(self.modules(), self.optimizer)
        if self.minimax is not None:
            tensors |= {f"minimax.{k}": v for k, v in self.minimax.state_dict().items()}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors of :meth:`state`."""
        load_training_state(self.modules(), self.optimizer, tensors)
        if self.minimax is not None:
            prefix = "minimax."
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            self.minimax.load_state_dict(own)

    def player(self, iteration: int, generator: torch.Generator) -> LearningTeam:
        """The team for collection, attacked if the placement is ``rollout`` or ``mixed``."""
        adversary = self.config.adversary
        if adversary.placement not in ("rollout", "mixed"):
            return LearningTeam(self.actor, generator)
        share = 0.5 if adversary.placement == "mixed" else 1.0
        return LearningTeam(
            self.actor,
            generator,
            self._observation_attack(self.epsilon(iteration)),
            self._action_attack(self.epsilon(iteration)),
            share,
        )

    def _observation_attack(self, epsilon: float) -> Adversary | None:
        if self.config.adversary.threat == "actions":
            return None
        objective = Critic(self.value, Categorical(self.actor.heads).probabilities)
        return self._build_attack(objective, epsilon)

    def _action_attack(self, epsilon: float) -> Adversary | None:
        adversary = self.config.adversary
        radius = epsilon if adversary.threat == "actions" else adversary.action_epsilon
        if radius == 0:
            return None
        objective = Critic(
            self.value, Categorical(self.actor.heads).probabilities, state="observation"
        )
        return build_adversary(adversary, objective, Ball("linf", radius))

    def epsilon(self, iteration: int) -> float:
        """ε of the iteration: it grows linearly over the ramp."""
        adversary = self.config.adversary
        ramp = max(1, round(adversary.ramp * self.config.iterations))
        return Linear(0.0, adversary.epsilon, ramp)(iteration + 1)

    def update(self, rows: TensorDict, generator: torch.Generator) -> UpdateLog:
        """Run all PPO epochs on the rows ``[samples]`` of one collection."""
        log = UpdateLog()
        for batch in minibatches(rows, self.config.ppo, generator):
            self._minibatch(batch, log)
        return log

    def _minibatch(self, batch: TensorDict, log: UpdateLog) -> None:
        def task(logits: Tensor) -> Tensor:
            if not torch.isfinite(logits).all():
                raise FloatingPointError("the policy's logits hold NaN or infinite values")
            losses = self.ppo_loss(batch.set("scores", logits + batch["shift"]))
            return losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]

        perceived = batch["observation"]
        if self.minimax is None:
            total = task(self.actor(perceived))
        else:
            again = self.config.penalty.second_attack
            x = perceived if again else batch["state_observation"]
            loss = self.minimax.regularise(self.actor, x, _data_of(batch))
            where = self.minimax.placement, self.actor, perceived, loss.trajectory.worst
            total = placed_loss(*where, task) + loss.total
            log.add(self._inner_loop(loss, batch, self.minimax.update - 1))
        log.add({"loss": float(total.detach())})
        if self.config.adversary.needs_value:
            total = total + self._value_loss(batch)
        self._descend(total, log)

    def _descend(self, total: Tensor, log: UpdateLog) -> None:
        networks = (self.actor, self.critic)
        norm, _ = clipped_gradients(total, self.optimizer, networks, self.config.ppo)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient norm is {float(norm)}; lower ppo.learning_rate, adversary.epsilon "
                "or penalty.weight"
            )
        self.optimizer.step()
        log.add({"outer_gradient_norm": float(norm)})

    def _inner_loop(self, loss: RobustLoss, batch: TensorDict, update: int) -> dict[str, float]:
        """Measurements of the inner maximisation.

        Its steps are measured at the first update of an iteration, on a few rows.
        """
        named = {"penalty": float(loss.penalty.detach())}
        if self.config.adversary.search == "noise":
            return named
        for name in ("weight", "sensitivity_quantile"):
            if name in loss.diagnostics:
                named[name] = loss.diagnostics[name]
        if not self._replays:
            named["inner_gradient_norm"] = loss.diagnostics["inner_gradient_norm_mean"]
        if update % self._updates:
            return named
        part = loss.trajectory
        if self._replays:
            part = self._search(batch[:_MEASURED_ROWS], update)
            named["inner_gradient_norm"] = float(part.norm(part.gradients).mean())
        rows = torch.arange(min(_MEASURED_ROWS, len(part.origin)), device=self.mask.device)
        return named | measure_ascent(self.actor, self.objective, part.rows(rows)).summary()

    def _search(self, batch: TensorDict, update: int) -> Trajectory:
        """The adversary's search on the true observations, for measurements alone."""
        generator = torch.Generator(self.mask.device)
        generator.manual_seed(derive(self.seed, "measured", update))
        search = with_epsilon(self.attack, self._epsilon_at(update))
        return search(self.actor, batch["state_observation"], generator, _data_of(batch))

    def _value_loss(self, batch: TensorDict) -> Tensor:
        heads = self.actor.heads
        parts = [
            nn.functional.one_hot(batch["action"][..., i], size) for i, size in enumerate(heads)
        ]
        action = torch.cat(parts, -1).to(batch["observation"])
        predicted = self.value(batch["state_observation"], action)
        return (predicted - batch["value_target"].squeeze(-1)).square().mean()

    @property
    def _replays(self) -> bool:
        """Whether the penalty is taken where the agents acted in attacked rollouts."""
        collected = self.config.adversary.placement == "rollout"
        return collected and not self.config.penalty.second_attack

    def _build_minimax(self) -> Minimax | None:
        adversary, penalty = self.config.adversary, self.config.penalty
        if adversary.placement == "none" or adversary.threat == "actions":
            return None
        # with the placement rollout, collection was attacked; the minimax only serves the penalty
        serves_penalty = adversary.placement == "rollout"
        if serves_penalty and not penalty.fraction:
            penalty = replace(penalty, fraction=1.0)
        ball = Ball("linf", adversary.epsilon, mask=self.mask)
        return Minimax(
            Replayed(self.attack.ball) if self._replays else self.attack,
            build_penalty(penalty, ball, self.objective, self.actor.heads),
            weight=_weight(penalty),
            placement=_PLACEMENTS[adversary.placement],
            attack_fraction=_PENALISED_SHARE if serves_penalty else 1.0,
            seed=self.seed,
            epsilon=None if self._replays else self._epsilon_at,
        )

    def _epsilon_at(self, update: int) -> float:
        return self.epsilon(update // self._updates)


def _data_of(batch: TensorDict) -> dict[str, Tensor]:
    return {
        "action": batch["action"],
        "advantage": batch["advantage"].squeeze(-1),
        "perceived": batch["observation"],
    }


def _weight(penalty: PenaltyConfig) -> float | DualAscent:
    if not penalty.constraint:
        return penalty.weight
    return DualAscent(
        penalty.constraint,
        penalty.quantile,
        penalty.dual_rate,
        penalty.dual_damping,
        penalty.weight,
        # a λ that fell close to 0 while ε was small would take long to grow again
        least=penalty.weight / 100,
    )


def _ppo_loss(critic: nn.Module, heads: tuple[int, ...], ppo: PPOConfig) -> ClipPPOLoss:
    # The loss does not run the actor: the robust loss computes the logits under attack.
    scores = TensorDictModule(nn.Identity(), ["scores"], ["logits"])
    actor = ProbabilisticActor(
        scores,
        in_keys=["logits"],
        out_keys=["action"],
        distribution_class=CategoricalHeads,
        distribution_kwargs={"heads": heads},
        return_log_prob=True,
    )
    return clipped_loss(actor, critic, ppo)
