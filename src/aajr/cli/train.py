"""``aajr train``: run one training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from aajr.hide_and_seek.training.config import TrainConfig
from aajr.integrations.recipes import MethodName, Recipe

Logger: TypeAlias = Literal["tensorboard", "csv", "wandb", "none"]


def train(
    output: Path,
    config: TrainConfig,
    opponents: tuple[Path, ...] = (),
    radio: bool = False,
    logger: Logger = "tensorboard",
    env: str | None = None,
    trainer: Literal["sb3", "jax"] = "sb3",
    method: MethodName = "aajr",
    eps: float = 0.1,
    norm: Literal["linf", "l2"] = "linf",
    weight: float | None = None,
    steps: int = 1_000_000,
    seed: int = 0,
) -> None:
    """Train one policy; the same command again continues a stopped training.

    With ``--env`` it trains an agent for any Gymnasium environment, by Stable-Baselines3's PPO or,
    for continuous control and many times as fast, by aajr.jax.ppo. Without it, it trains a team of
    hide-and-seek.

    For example:

    $ aajr train --output runs/hopper --env envpool:Hopper-v5 --trainer jax --eps 0.075

    $ aajr train --output runs/cart --env CartPole-v1 --method sa --eps 0.1

    $ aajr train --output runs/league --config.learners hider seeker --config.iterations 100

    $ aajr train --output runs/aajr --opponents runs/league/checkpoint.safetensors
    --config.adversary.placement update --config.penalty.name aajr --config.penalty.weight
    0.004

    $ aajr train --output runs/reports --radio --config.adversary.threat reports
    --config.adversary.placement update --config.adversary.epsilon 1

    Args:
        output: directory of the checkpoint and the logs.
        config: hide-and-seek: settings of the training.
        opponents: hide-and-seek: checkpoints of the team that does not learn. Without any, in a
            game with a radio scripted seekers play.
        radio: hide-and-seek: play the calibrated game of reports instead of ``config.env``.
        logger: hide-and-seek: where metrics are written, in addition to the progress bar.
        env: name of a Gymnasium environment, or package.module:factory; it takes the options below.
        trainer: sb3, or jax for environments whose observations and actions are flat arrays of
            numbers; there env may also be envpool:Name.
        method: plain PPO; adversarial, the loss of the policy under attack; or a penalty.
        eps: ε, in running standard deviations of the observation (images: pixel levels).
        norm: norm of the perturbation.
        weight: λ of the penalty; the default was tuned on no environment.
        steps: environment steps of the run.
        seed: seed of the run.
    """
    if env is None:
        _hide_and_seek(output, config, opponents, radio, logger)
    elif opponents or radio or config != TrainConfig():
        raise ValueError(
            f"env={env!r} takes none of hide-and-seek's options (opponents, radio, config); leave "
            "them, or leave --env"
        )
    else:
        host = _sb3 if trainer == "sb3" else _jax
        host(output, Recipe(env, method, eps, norm, weight, steps, seed))
        print(f"Agent: {output}. Attack it: aajr attack {output} --env {env} --eps {eps}")


def _jax(output: Path, recipe: Recipe) -> None:
    from aajr.cli._bar import progress_bar
    from aajr.integrations.jax_training import config_of, train_recipe

    title = f"{recipe.method} on {recipe.env}"
    with progress_bar() as progress:
        task = progress.add_task(title, total=config_of(recipe).steps)

        def tell(line: dict[str, float | None]) -> None:
            gained = line["return"]
            words = title if gained is None else f"{title}, return {gained:,.0f}"
            progress.update(task, completed=line["steps"], description=words)

        train_recipe(recipe, output, tell)


def _sb3(output: Path, recipe: Recipe) -> None:
    from aajr.cli._bar import progress_bar
    from aajr.integrations.sb3 import train_recipe

    with progress_bar() as progress:
        task = progress.add_task(f"{recipe.method} on {recipe.env}", total=recipe.parts)
        for done in train_recipe(recipe, output):
            progress.update(task, completed=done)


def _hide_and_seek(
    output: Path, config: TrainConfig, opponents: tuple[Path, ...], radio: bool, logger: Logger
) -> None:
    from aajr.cli._bar import progress_bar
    from aajr.hide_and_seek.game import RADIO_GAME, HideAndSeekConfig
    from aajr.hide_and_seek.game.chasers import Chasers
    from aajr.hide_and_seek.training.loggers import build_logger
    from aajr.hide_and_seek.training.trainer import Trainer, load_actor

    frozen = [team for team in ("hider", "seeker") if team not in config.learners]
    actors = [load_actor(path, team) for path in opponents for team in frozen]  # type: ignore[arg-type]
    if radio and config.env != HideAndSeekConfig():
        raise ValueError(
            "radio=True plays the calibrated game and would ignore config.env; leave one of them"
        )
    if radio:
        config = replace(config, env=RADIO_GAME)
    if not actors and frozen == ["seeker"] and config.env.radio is not None:
        actors = [Chasers(config.env)]
    trainer = Trainer(config, actors, output)
    log = build_logger(logger, output)
    with progress_bar() as progress:
        task = progress.add_task("training", total=config.iterations, completed=trainer.iteration)
        for metrics in trainer.run():
            log(metrics)
            text = (
                f"hiders' success {metrics['hiders_success']:.0%}, "
                f"{metrics['steps_per_second']:,.0f} steps/s"
            )
            progress.update(task, advance=1, description=text)
