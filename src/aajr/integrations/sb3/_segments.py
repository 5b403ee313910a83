"""Training of PPO in segments, each of which starts anew, so that a killed run goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import Tensor

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.training.checkpoints import load_checkpoint, save_checkpoint
from aajr.schedules import Schedule


def learn_in_segments(
    agent: PPO,
    steps: int,
    segments: int,
    seed: int,
    checkpoint: Path,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[int]:
    """Train an agent, and write a checkpoint after every segment.

    Every segment starts new episodes with its own random seed. A run that was killed and resumed
    therefore gives the same agent as an uninterrupted run. The checkpoint is safetensors: weights,
    optimiser, VecNormalize's statistics and the state of the robust loss.

    Args:
        agent: PPO or RobustPPO as it was made, before any training.
        steps: environment steps of the whole run; what is left over from equal segments is dropped.
        segments: number of segments.
        seed: seed of the run.
        checkpoint: the file; if it exists, the run goes on after its last segment.
        facts: settings of the run as JSON values, written to the checkpoint.

    Yields:
        The number of segments that are done, at first and after each of them.

    Raises:
        ValueError: the checkpoint is of a run with other facts.
        FloatingPointError: a weight became NaN; the checkpoint holds the last good ones.
    """
    check_count("segments", segments)
    check_count("steps", steps, minimum=segments)
    facts = dict(facts or {})
    done = _restore(agent, checkpoint, facts) if checkpoint.exists() else 0
    yield done
    length = steps // segments
    for segment in range(done, segments):
        agent.set_random_seed(derive(seed, "segment", segment))
        agent._last_obs = None
        agent.num_timesteps = segment * length
        agent.learn(length, reset_num_timesteps=False)
        _store(agent, checkpoint, segment + 1, facts)
        yield segment + 1


def epsilon_ramp(
    epsilon: float, steps: int, rows: int, updates: int, between: tuple[float, float]
) -> Schedule:
    """ε as a function of the minibatch update: 0, then a linear rise, then constant.

    It is constant while one rollout is used.

    Args:
        epsilon: greatest ε.
        steps: environment steps of the run.
        rows: environment steps of one rollout.
        updates: minibatch updates for one rollout.
        between: the shares of the run between which ε rises.

    Example:
        >>> ramp = epsilon_ramp(0.2, steps=400, rows=100, updates=5, between=(0.25, 0.75))
        >>> ramp(0), ramp(10), ramp(19)
        (0.0, 0.1, 0.2)
    """
    start, end = between

    def value(update: int) -> float:
        share = (update // updates * rows / steps - start) / (end - start)
        return epsilon * min(1.0, max(0.0, share))

    return value


def _store(agent: PPO, path: Path, segments: int, facts: dict[str, Any]) -> None:
    tensors = {f"policy.{name}": value for name, value in agent.policy.state_dict().items()}
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise FloatingPointError(
            f"a weight became NaN or infinite; {path} holds the last good ones: lower the learning "
            "rate, ε or λ"
        )
    for index, entries in agent.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in entries.items()}
    for name, statistics in _statistics(agent):
        tensors[f"{name}.mean"] = torch.as_tensor(statistics.mean, dtype=torch.float64)
        tensors[f"{name}.variance"] = torch.as_tensor(statistics.var, dtype=torch.float64)
        tensors[f"{name}.count"] = torch.tensor(statistics.count, dtype=torch.float64)
    if (minimax := getattr(agent, "_minimax", None)) is not None:
        state = minimax.state_dict()
        tensors |= {f"minimax.{name}": value for name, value in state.items()}
    meta = {"segments": segments, "updates": agent._n_updates, "facts": facts}
    save_checkpoint(path, tensors, meta)


def _restore(agent: PPO, path: Path, facts: dict[str, Any]) -> int:
    tensors, meta = load_checkpoint(path)
    if (found := meta.get("facts", {})) != facts:
        changed = sorted(k for k in {*found, *facts} if found.get(k) != facts.get(k))
        raise ValueError(
            f"{path} is of a run with other settings ({', '.join(changed)}); give the same ones, "
            "or another directory"
        )
    agent.policy.load_state_dict(_under(tensors, "policy."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimizer.").items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = value
    packed = agent.policy.optimizer.state_dict()
    agent.policy.optimizer.load_state_dict({**packed, "state": state})
    for name, statistics in _statistics(agent):
        statistics.mean = tensors[f"{name}.mean"].numpy()
        statistics.var = tensors[f"{name}.variance"].numpy()
        statistics.count = float(tensors[f"{name}.count"])
    if (minimax := getattr(agent, "_minimax", None)) is not None:
        minimax.load_state_dict(_under(tensors, "minimax."))
    agent._n_updates = meta["updates"]
    return int(meta["segments"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _statistics(agent: PPO) -> list[tuple[str, RunningMeanStd]]:
    """VecNormalize's running statistics by name; none without it."""
    env = agent.get_vec_normalize_env()
    if env is None:
        return []
    known = [("observation", env.obs_rms)] if env.norm_obs else []
    return [*known, ("reward", env.ret_rms)]
