"""Log training metrics with one of TorchRL's loggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from aajr._checks import check_choice

LoggerName = Literal["tensorboard", "csv", "wandb", "none"]
Log = Callable[[Mapping[str, float]], None]


def build_logger(name: LoggerName, directory: Path) -> Log:
    """Build a function that logs the metrics of one iteration.

    Args:
        name: ``tensorboard``, ``csv``, ``wandb`` (needs the extra ``wandb``) or ``none``.
        directory: directory of local logs.

    Returns:
        A function that takes the metrics; they must hold ``iteration``.

    Raises:
        ValueError: the name is unknown.
        ImportError: the name is ``wandb`` and W&B is not installed.
    """
    check_choice("logger", name, ("tensorboard", "csv", "wandb", "none"))
    if name == "none":
        return lambda metrics: None
    logger = _torchrl_logger(name, directory)

    def log(metrics: Mapping[str, float]) -> None:
        step = int(metrics["iteration"])
        for key, value in metrics.items():
            if key != "iteration":
                logger.log_scalar(key.replace("/", "_") if name == "csv" else key, value, step=step)

    return log


def _torchrl_logger(name: LoggerName, directory: Path):  # type: ignore[no-untyped-def]
    from torchrl.record.loggers import CSVLogger, TensorboardLogger, WandbLogger

    if name == "tensorboard":
        return TensorboardLogger(exp_name="tensorboard", log_dir=str(directory))
    if name == "csv":
        return CSVLogger(exp_name="csv", log_dir=str(directory))
    try:
        return WandbLogger(exp_name=directory.name, project="aajr")
    except ImportError as error:
        raise ImportError("logger='wandb' needs W&B: pip install 'aajr[wandb]'") from error
