"""Where the jobs of a command run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from aajr.studies import Pool

Ray = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")]


def pool_of(workers: int | None, ray: tuple[str, ...] | None, work: Path) -> Pool:
    """Processes, or Ray on the cluster at an address, on a local one without."""
    from aajr import studies

    if ray is None:
        return studies.Workers(workers)
    if len(ray) > 1:
        raise ValueError(f"--ray {' '.join(ray)} names {len(ray)} addresses; give one or none")
    # only here: Ray is an extra
    return studies.RayWorkers(work, address=ray[0] if ray else None, count=workers)
