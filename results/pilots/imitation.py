"""Can a network that reads raw reports learn to do what a plain policy behind a median does?

    python results/pilots/imitation.py OUTPUT.jsonl PENALTY[:WEIGHT[:NAME=VALUE,...]] ...

A plain policy behind the median of the true reports is the teacher. The student reads reports of
which two of five lie, found by ascent of the cross-entropy with the teacher's action, on states of
its own episodes, clean and attacked in turn. Options: seed, hidden, eps, rounds, updates, steps (of
the ascent), warm (rounds with three steps and no penalty before steps=8 and the penalty). The plain
policy is the one that tries.py trains. Penalties: none, aajr, frobenius, random.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax
from tries import main, plain_policy, preset_of

from aajr import AAJR, Ball, Frobenius, Minimax, ProjectedGradientAscent, RandomDirection
from aajr._seeds import derive
from aajr.adversaries import LyingSources
from aajr.arena.agents.actors import Actor, MedianReports
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.geometry import Categorical
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training.trainer import load_actor
from aajr.penalties import Penalty
from aajr.studies.comparison.attacks import outcomes_of, silenced_success, suite_of
from aajr.studies.comparison.presets import Preset
from aajr.trajectory import Reference


class CrossEntropy:
    """With the teacher's action, summed over the heads, ``[batch]``."""

    def __init__(self, heads: tuple[int, ...]) -> None:
        self.heads = list(heads)

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """With ``data["target"]``."""
        return self.of(output, reference.data["target"])

    def of(self, output: Tensor, target: Tensor) -> Tensor:
        """With the teacher's logits."""
        q = [log_softmax(part, -1) for part in output.split(self.heads, -1)]
        p = [softmax(part, -1) for part in target.split(self.heads, -1)]
        return -(torch.cat(p, -1) * torch.cat(q, -1)).sum(-1)


def imitated(penalty: str, weight: str, options: dict[str, str]) -> dict[str, object]:
    """Train one student and attack it."""
    preset, seed = preset_of({"eps": options.get("eps", "1")}), int(options.get("seed", 100))
    teacher = load_actor(plain_policy(preset, seed), "hider")
    match = Match(preset.env, [Chasers(preset.env)], 128, 1)
    source = torch.Generator().manual_seed(derive(seed, "distil"))
    hidden = int(options.get("hidden", 64))
    student = Actor(teacher.features, teacher.heads, (hidden, hidden), generator=source)
    if hidden == 64:
        student.load_state_dict(teacher.state_dict())
    begin = time.process_time()
    loss = taught(student, teacher, match, preset, seed, penalty, weight, options, source)
    trained = time.process_time() - begin
    final = Match(preset.env, [Chasers(preset.env)], 256, derive(seed, "evaluation"))
    victim = Victim(student, final, "reports", preset.effort)
    outcomes = outcomes_of(victim, suite_of(preset), [preset.adversary.epsilon])
    return {
        "penalty": penalty,
        "weight": weight,
        "options": options,
        "train_cpu_seconds": trained,
        "silenced": silenced_success(victim),
        "cross_entropy": loss,
        "success": {outcome.score.attack: outcome.score.success for outcome in outcomes},
    }


def taught(student, teacher, match, preset, seed, penalty, weight, options, source) -> float:
    """All rounds: new states, then updates on all states; the last cross-entropy."""
    ball = Victim(teacher, match, "reports", preset.effort).ball(preset.adversary.epsilon)
    objective, median = CrossEntropy(teacher.heads), MedianReports(match.sources)
    rounds, updates = int(options.get("rounds", 8)), int(options.get("updates", 1000))
    warm = int(options.get("warm", 0))
    optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds * updates)

    def lies(steps: int) -> LyingSources:
        search = ProjectedGradientAscent(ball, objective, steps=steps)
        return LyingSources(search, match.sources, match.liars)

    steps = int(options.get("steps", 8 if warm else 3))
    minimax = Minimax(lies(steps), penalty_of(penalty, teacher.heads, ball), seed=seed)
    seen = []
    for number in range(rounds):
        gentle = number < warm
        minimax.adversary = lies(3 if gentle else steps)
        minimax.weight = 0.0 if gentle else float(weight or 0)
        episodes = match.resized(128, derive(seed, "round", number))
        seen.append(states(student, episodes, ball, preset, number))
        x = torch.cat(seen)
        with torch.no_grad():
            target = teacher(median(x))
        for _ in range(updates):
            rows = torch.randint(len(x), (256,), generator=source)
            chosen = target[rows]
            loss = minimax(
                student, x[rows], lambda o, t=chosen: objective.of(o, t).mean(), {"target": chosen}
            )
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
            schedule.step()
    return float(loss.task.detach())


def penalty_of(name: str, heads: tuple[int, ...], ball: Ball) -> Penalty | None:
    """The penalty, on a quarter of the rows."""
    often = {"metric": Categorical(heads), "interval": 1, "fraction": 0.25}
    if name == "aajr":
        return AAJR(**often)
    if name == "frobenius":
        return Frobenius(mask=ball.mask, **often)
    return RandomDirection(mask="moved", **often) if name == "random" else None


def states(student: Actor, match: Match, ball: Ball, preset: Preset, number: int) -> Tensor:
    """True observations of its own episodes, attacked in odd rounds, ``[states, features]``."""
    victim = Victim(student, match, "reports", preset.effort)
    search = ProjectedGradientAscent(ball, victim.divergence, steps=2)
    attack = LyingSources(search, match.sources, match.liars) if number % 2 else None
    record = play(match, AttackedTeam(student, attack, torch.Generator().manual_seed(number)))
    return record.observation[record.played].flatten(0, 1)


if __name__ == "__main__":
    main(imitated)
