"""Two processes: no hang, one process's gradients on the same global batch, its metrics."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("trl")

from aajr.integrations.trl import Robustness
from aajr.integrations.trl._ranks import ALONE, Ranks, gathering_unequal_rows
from aajr.integrations.trl._sharded import check_spread
from tests.unit.integrations.trl import ranks

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[4]
NAMES = [*ranks.SCENES, *(f"sharded {name}" for name in ranks.SHARDED)]
PATIENCE = 150  # seconds; the two processes need about 15


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Every scene on one process, and on each of two that run meanwhile."""
    out = tmp_path_factory.mktemp("ranks")
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    with (out / "log").open("w") as log:
        pair = subprocess.Popen(
            [sys.executable, "-m", ranks.__name__, str(out)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            alone = {name: scene(1, out / "alone") for name, scene in ranks.SCENES.items()}
            for name, scene in ranks.SHARDED.items():
                alone[f"sharded {name}"] = scene(1, out / "alone")
            code = pair.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"two processes hang:\n{(out / 'log').read_text()[-2000:]}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pair.pid, signal.SIGKILL)
    if code:
        pytest.fail(f"two processes fail:\n{(out / 'log').read_text()[-2000:]}")
    return alone, [torch.load(out / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_take_one_process_step_on_the_global_batch(trained, name):
    alone, both = trained
    moved = alone[name]["moved"]
    scale = max(float(value.abs().max()) for value in moved.values())
    assert scale > 0
    for rank in both:
        for parameter, value in moved.items():
            found = rank[name]["moved"][parameter]
            torch.testing.assert_close(found, value, rtol=0.0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_those_of_the_global_batch(trained, name):
    alone, both = trained
    expected = {k: v for k, v in alone[name]["log"].items() if k.startswith("aajr/")}
    assert len(expected) == 4
    for rank in both:
        assert {k: rank[name]["log"][k] for k in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("host", ["sft", "dpo", "grpo"])
def test_weight_0_is_the_host_bit_for_bit(trained, host):
    assert all(rank[f"untouched {host}"] for rank in trained[1])


def test_ascent_on_sharded_parameters_is_logged_alike(trained):
    first, second = (rank["smart"]["log"] for rank in trained[1])
    assert first["aajr/penalty"] == second["aajr/penalty"] > 0


def spread(precision="no", n_gpu=1, tp=1, **state):
    """What a trainer says of the ways its model is spread."""
    return SimpleNamespace(
        args=SimpleNamespace(n_gpu=n_gpu),
        accelerator=SimpleNamespace(mixed_precision=precision, state=SimpleNamespace(**state)),
        get_tp_size=lambda: tp,
        get_cp_size=lambda: 1,
        get_sp_size=lambda: 1,
    )


FSDP1, FSDP2 = (SimpleNamespace(fsdp_version=version) for version in (1, 2))
ZERO2 = SimpleNamespace(zero_stage=2)


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (spread(n_gpu=2), r"n_gpu=2 .* accelerate launch"),
        (spread(tp=2), r"tp_size=2 .* DDP"),
        (spread(fsdp_plugin=FSDP1), r"fsdp_version=1 .*\{'version': 2\}"),
        (spread("bf16", fsdp_plugin=FSDP2), r"to bf16, .*bf16=False"),
        (spread("bf16", deepspeed_plugin=ZERO2), r"to bf16, .*bf16=False"),
        (spread(deepspeed_plugin=SimpleNamespace(zero_stage=3)), r"zero_stage=3 .* ZeRO-2"),
    ],
)
def test_what_would_hang_or_round_is_refused(trainer, message):
    with pytest.raises(ValueError, match=message):
        check_spread(trainer, Robustness(1.0))


def test_what_was_tried_is_not_refused():
    for trainer in (
        spread(),
        spread("bf16"),
        spread(fsdp_plugin=FSDP2),
        spread(deepspeed_plugin=ZERO2),
    ):
        check_spread(trainer, Robustness(1.0))
    check_spread(spread("bf16", fsdp_plugin=FSDP2), Robustness(1.0, "r3f"))


class Pair:
    """An accelerator of two ranks, of which the other's answers are given."""

    num_processes, device = 2, torch.device("cpu")

    def __init__(self, *theirs):
        self.theirs = iter(theirs)

    def gather(self, value):
        return torch.cat([value, next(self.theirs)])

    def reduce(self, value, how):
        assert how == "sum"
        return value + next(self.theirs)


def test_sums_are_over_the_processes():
    assert ALONE.total([1.0, torch.tensor(2)]).tolist() == [1.0, 2.0]
    theirs = torch.tensor([10.0, 20.0]).double()
    assert Ranks(Pair(theirs)).total([1.0, torch.tensor(True)]).tolist() == [11.0, 21.0]


def test_metrics_of_unequal_numbers_of_rows_are_gathered():
    pair = Pair(torch.tensor([1]), torch.tensor([7.0, 0.0, 0.0]))
    with gathering_unequal_rows(pair):
        assert pair.gather(torch.tensor([1.0, 2.0, 3.0])).tolist() == [1.0, 2.0, 3.0, 7.0]
    assert "gather" not in vars(pair)
