"""Training runs: exact resumption, every method, clear errors."""

import dataclasses

import pytest
import torch

from aajr.arena.agents.actors import Actor
from aajr.arena.training.checkpoints import CheckpointError, load_checkpoint
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.training import (
    AdversaryConfig,
    PenaltyConfig,
    TrainConfig,
    Trainer,
    TrainingDivergedError,
    load_actor,
)

BASE = TrainConfig(
    iterations=3,
    env=HideAndSeekConfig(max_steps=6),
    ppo=PPOConfig(environments=6, minibatches=2, hidden=(8,)),
    checkpoint_interval=1,
)
UPDATE = AdversaryConfig("update", ramp=0.0)
CASES = {
    "plain": BASE,
    "self_play": dataclasses.replace(BASE, learners=("hider", "seeker")),
    "centralised": dataclasses.replace(
        BASE, ppo=dataclasses.replace(BASE.ppo, critic="centralised")
    ),
    "aajr_gradient": dataclasses.replace(
        BASE, adversary=UPDATE, penalty=PenaltyConfig("aajr", 0.1, "gradient", interval=2)
    ),
    "constraint": dataclasses.replace(
        BASE, adversary=UPDATE, penalty=PenaltyConfig("aajr", 0.1, constraint=0.01)
    ),
    "stable": dataclasses.replace(
        BASE, adversary=AdversaryConfig("update", steps=2, step_size=2.0, step_rule="stable")
    ),
    "rollout": dataclasses.replace(BASE, adversary=AdversaryConfig("rollout", "full", "critic")),
    "mixed": dataclasses.replace(
        BASE, adversary=AdversaryConfig("mixed", objective="surrogate", action_epsilon=0.5)
    ),
    "actions": dataclasses.replace(
        BASE, adversary=AdversaryConfig("rollout", "actions", epsilon=1.0)
    ),
}


def seekers() -> list[Actor]:
    return [team_actor(60, generator=torch.Generator().manual_seed(9)).requires_grad_(False)]


def trainer(config: TrainConfig, directory=None, **kwargs) -> Trainer:
    opponents = [] if len(config.learners) == 2 else seekers()
    return Trainer(config, opponents, directory, **kwargs)


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {
        f"{team}.{name}": value
        for team, one in run.learners.items()
        for name, value in one.state().items()
    }


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_ends_with_the_same_bits(name, tmp_path):
    config = CASES[name]
    whole = trainer(config)
    list(whole.run())
    partial = trainer(config, tmp_path)
    next(iter(partial.run()))
    partial.save(partial.path)
    torch.manual_seed(123)
    resumed = trainer(config, tmp_path)
    assert resumed.iteration == 1
    list(resumed.run())
    assert equal(weights(whole), weights(resumed))
    assert whole.history == resumed.history
    assert whole.gradient_norms == resumed.gradient_norms


def test_training_moves_the_weights_and_leaves_the_global_seed():
    before = weights(trainer(BASE))
    run = trainer(BASE)
    torch.manual_seed(5)
    list(run.run())
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert not equal(before, weights(run))


@pytest.mark.parametrize(
    "name",
    [
        "aajr",
        "global",
        "global_attackable",
        "spectral",
        "random_direction",
        "sa",
        "ernie",
        "input_gradient",
    ],
)
def test_every_penalty_trains(name):
    heavy = dataclasses.replace(
        BASE, iterations=1, adversary=UPDATE, penalty=PenaltyConfig(name, 1.0, fraction=1.0)
    )
    none = dataclasses.replace(heavy, penalty=PenaltyConfig())
    first, second = trainer(heavy), trainer(none)
    assert next(iter(first.run()))["hider/penalty"] > 0
    list(second.run())
    assert not equal(weights(first), weights(second))


def test_the_adversary_changes_the_update():
    adversarial = dataclasses.replace(BASE, iterations=1, adversary=UPDATE)
    first, second = trainer(adversarial), trainer(dataclasses.replace(BASE, iterations=1))
    list(first.run())
    list(second.run())
    assert not torch.equal(
        weights(first)["hider.actor.network.0.weight"],
        weights(second)["hider.actor.network.0.weight"],
    )


def test_epsilon_ramps_up():
    config = dataclasses.replace(
        BASE, iterations=8, adversary=AdversaryConfig("update", epsilon=0.4, ramp=0.5)
    )
    learner = trainer(config).learners["hider"]
    assert [round(learner.epsilon(t), 6) for t in (0, 1, 3, 7)] == [0.1, 0.2, 0.4, 0.4]


def test_a_diverged_run_keeps_its_checkpoint(tmp_path):
    run = trainer(BASE, tmp_path)
    steps = run.run()
    next(steps)
    next(steps)
    good, _ = load_checkpoint(run.path)
    with torch.no_grad():
        run.learners["hider"].actor.network[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match=r"iteration 3 .*last good checkpoint"):
        run.step()
    assert all(torch.isfinite(v.float()).all() for v in good.values())
    assert load_checkpoint(run.path)[1]["iteration"] in (1, 2)


def test_initial_weights_are_the_start(tmp_path):
    source = trainer(BASE, tmp_path)
    list(source.run())
    chosen = {
        k: v
        for k, v in source.learners["hider"].state().items()
        if k.startswith(("actor", "critic"))
    }
    started = trainer(BASE, initial={"hider": chosen})
    assert torch.equal(
        started.learners["hider"].actor.network[0].weight,
        source.learners["hider"].actor.network[0].weight,
    )
    with pytest.raises(ValueError, match="initial weights do not fit"):
        trainer(BASE, initial={"hider": {"actor.network.0.weight": torch.zeros(8, 60)}})


def test_load_actor_is_frozen_and_exact(tmp_path):
    run = trainer(CASES["self_play"], tmp_path)
    list(run.run())
    actor = load_actor(run.path, "seeker")
    x = torch.randn(3, 60)
    assert torch.equal(actor(x), run.learners["seeker"].actor(x))
    assert not any(p.requires_grad for p in actor.parameters())
    plain = trainer(BASE, tmp_path / "plain")
    list(plain.run())
    with pytest.raises(CheckpointError, match="holds no seeker actor"):
        load_actor(plain.path, "seeker")


def test_another_configuration_is_refused(tmp_path):
    list(trainer(BASE, tmp_path).run())
    with pytest.raises(CheckpointError, match="another configuration"):
        trainer(dataclasses.replace(BASE, seed=1), tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Trainer(BASE), "opponents=0"),
        (lambda: Trainer(CASES["self_play"], seekers()), "opponents=1"),
        (
            lambda: dataclasses.replace(BASE, penalty=PenaltyConfig("aajr", 1.0)),
            "penalty.name='aajr'",
        ),
        (lambda: dataclasses.replace(BASE, learners=("referee",)), "learners="),
        (lambda: AdversaryConfig("update", "actions"), "placement='update'"),
        (lambda: AdversaryConfig(epsilon=-1.0), "epsilon=-1.0"),
        (lambda: PenaltyConfig(weight=float("nan")), "weight=nan"),
        (lambda: PPOConfig(learning_rate=0.0), "learning_rate=0.0"),
        (lambda: dataclasses.replace(BASE, env=HideAndSeekConfig(discrete=False)), "env.discrete"),
    ],
)
def test_bad_configurations_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("rule", ["fixed", "stable", "backtracking"])
def test_the_inner_loop_is_logged(rule):
    adversary = AdversaryConfig(
        "update", "full", epsilon=0.5, ramp=0.0, steps=3, step_size=2.0, step_rule=rule
    )
    metrics = trainer(dataclasses.replace(BASE, adversary=adversary)).step()
    for kind in ("inner", "outer"):
        for part in ("variance", "median", "largest", "largest_over_median"):
            assert metrics[f"hider/{kind}_gradient_norm_{part}"] >= 0
        assert metrics[f"hider/{kind}_gradient_norm_largest_over_median"] >= 1
    assert metrics["hider/step_length"] > 0
    assert metrics["hider/effective_smoothness"] > 0
    if rule != "fixed":
        assert metrics["hider/nonmonotone_share"] == 0


def test_the_constraint_moves_the_weight():
    penalty = PenaltyConfig("aajr", 0.1, constraint=1e-6)
    metrics = trainer(dataclasses.replace(BASE, adversary=UPDATE, penalty=penalty)).step()
    assert metrics["hider/sensitivity_quantile"] > 1e-6
    assert metrics["hider/weight"] > 0.1
