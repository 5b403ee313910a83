"""``aajr attack``: attack agents of one's own, in one's own environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from aajr.arena.settings import SuiteName

if TYPE_CHECKING:
    from rich.console import Console

    from aajr.arena.reports.report import Report


def attack(
    agents: Annotated[tuple[str, ...], tyro.conf.Positional],
    env: str,
    eps: float,
    suite: SuiteName = "standard",
    episodes: int = 50,
    seed: int = 0,
    norm: Literal["linf", "l2"] = "linf",
    threat: Literal["observations", "actions"] = "observations",
    features: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    radii: tuple[float, ...] | None = None,
    limit: int | None = None,
    normalise: Path | None = None,
    frames: int | None = None,
    trust_pickle: bool = False,
    film: bool = True,
    report: Path | None = None,
    output: Path = Path("results/attack"),
) -> None:
    """Attack your own agent with every attack of a suite; report the lowest return.

    Every finished trial is saved under the output, so the same command continues a stopped run.
    An attack that does not fit the agent is named as left out, with the reason.

    For example:

    $ aajr attack agent.zip --env Hopper-v5 --eps 0.075 --suite standard

    $ aajr attack my_package.agents:load --env my_package:make_env --eps 0.1 --report report.html

    $ aajr attack agent.zip --env Hopper-v5 --eps 0.1 --threat actions

    $ aajr attack runs/seed0 runs/seed1 runs/seed2 --env CartPole-v1 --eps 0.2 --features 2 3

    Args:
        agents: an SB3 zip, a directory of save_agent or of aajr.jax.ppo.train, an ONNX file, or
            package.module:function, which returns an Agent, a torch module or a function of
            observations. Several are taken as training seeds of one method.
        env: a name that Gymnasium knows, envpool:Name, or package.module:factory.
        eps: ε, in the unit in which the agent sees, or of its actions; the report names it.
        suite: quick, standard or thorough; the report lists its version and attacks.
        episodes: number of episodes of each trial.
        seed: seed of the initial states, the same for all trials.
        norm: norm of the perturbation.
        threat: what the adversary changes: what the agent sees, or the actions that it takes.
            ε is then in the actions' unit, or the probability of another choice, and the features
            are the numbers of the action.
        features: names or numbers of the features that may be changed, such as 0:8; all by default.
        low: least valid input; 0 for pixels.
        high: greatest valid input; 255 for pixels.
        radii: further ε for the curve; by default a quarter and half of it.
        limit: steps after which an episode is cut, if the environment has no limit of its own.
        normalise: file of VecNormalize; by default vecnormalize.pkl beside the zip.
        frames: frames that the agent's wrapper stacked, if the environment does not stack them.
        trust_pickle: run the code inside the files, if they hold anything but plain data.
        film: add a film of one episode without and under the worst attack.
        report: the page; by default report.html in the output.
        output: directory of report.json, of the page and of the trials.
    """
    from aajr.arena.examination.examining import examine
    from aajr.cli._bar import parts_bar, wide_console
    from aajr.cli._targets import agents_of, ball_of, environment_of

    world = environment_of(env, limit)
    found = agents_of(agents, world, normalise=normalise, frames=frames, trust=trust_pickle)
    ball = ball_of(found, world, norm, eps, features, low, high, actions=threat == "actions")
    console = wide_console()
    with parts_bar(console) as progress:
        result = examine(
            found,
            world,
            ball,
            suite,
            threat=threat,
            epsilons=radii,
            episodes=episodes,
            seed=seed,
            directory=output / "trials",
            progress=progress,
            film=film,
        )
    paths = [result.save(output / "report.json"), result.save(report or output / "report.html")]
    _print(result, console)
    console.print(f"Report: {', '.join(map(str, paths))}", soft_wrap=True)


def _print(report: Report, console: Console) -> None:
    table = report.table()
    console.print(table.rich(), *table.notes, "", sep="\n")
    for sentence in report.findings:
        console.print(f"Finding: {sentence}")
    for name, reason in report.left_out.items():
        console.print(f"Left out: {name} {reason}")
