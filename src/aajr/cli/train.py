"""``aajr train``: run one training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from aajr.hide_and_seek.training.config import TrainConfig


def train(
    output: Path,
    config: TrainConfig,
    opponents: tuple[Path, ...] = (),
    radio: bool = False,
    logger: Literal["tensorboard", "csv", "wandb", "none"] = "tensorboard",
) -> None:
    """Train one policy; the same command again continues a stopped training.

    For example:

    $ aajr train --output runs/league --config.learners hider seeker --config.iterations 100

    $ aajr train --output runs/aajr --opponents runs/league/checkpoint.safetensors
    --config.adversary.placement update --config.penalty.name aajr --config.penalty.weight
    0.004

    $ aajr train --output runs/reports --radio --config.adversary.threat reports
    --config.adversary.placement update --config.adversary.epsilon 1

    Args:
        output: directory of the checkpoint and the logs.
        config: settings of the training.
        opponents: checkpoints of the team that does not learn. Without any, in a game with a
            radio scripted seekers play.
        radio: play the calibrated game of reports instead of ``config.env``.
        logger: where metrics are written, in addition to the progress bar.
    """
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
