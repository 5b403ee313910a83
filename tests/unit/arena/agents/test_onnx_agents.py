"""Agents of ONNX graphs answer as the network that was exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from aajr.arena import Agent
from tests.unit.arena.agents.test_agent_sources import BOX, SEEN, network, points

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Greedy(nn.Module):
    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, x):
        return self.scores(x).argmax(-1), self.scores(x)


def exported(module, path, rows=None):
    axes = {"x": {0: "rows"}} if rows is None else {}
    names = {"input_names": ["x"], "dynamic_axes": axes, "dynamo": False}
    torch.onnx.export(module.eval(), (torch.zeros(rows or 1, 3),), path, **names)
    return path


@pytest.mark.parametrize("rows", [None, 1, 3])
def test_logits_are_those_of_the_network(tmp_path, rows):
    module = network(4)
    path = exported(module, tmp_path / "agent.onnx", rows)
    agent = Agent.from_onnx(path, SEEN, spaces.Discrete(4))
    torch.testing.assert_close(agent(points()), module(points()))
    assert (agent.differentiable, agent.source) == (False, str(path))
    assert agent.unit == "the environment's own units"


def test_actions_are_those_of_the_network(tmp_path):
    module = network(2)
    agent = Agent.from_onnx(exported(module, tmp_path / "a.onnx"), SEEN, BOX)
    expected = module(points()).clamp(torch.tensor(BOX.low), torch.tensor(BOX.high))
    torch.testing.assert_close(agent.head.act(agent(points())), expected)


def test_an_output_is_chosen_by_name(tmp_path):
    module = Greedy(network(4))
    path = exported(module, tmp_path / "a.onnx")
    import onnxruntime

    greedy, scores = (one.name for one in onnxruntime.InferenceSession(path).get_outputs())
    first = Agent.from_onnx(path, SEEN, spaces.Discrete(4))
    named = Agent.from_onnx(path, SEEN, spaces.Discrete(4), output=scores)
    torch.testing.assert_close(named(points()), module(points())[1])
    assert torch.equal(first.head.act(first(points()))[:, 0], module(points())[0])
    with pytest.raises(ValueError, match=rf"output='none' is not an output.*{greedy}"):
        Agent.from_onnx(path, SEEN, spaces.Discrete(4), output="none")


def test_graphs_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.onnx is no file"):
        Agent.from_onnx(tmp_path / "a.onnx", SEEN, BOX)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ValueError, match=r"text\.onnx is no ONNX graph"):
        Agent.from_onnx(tmp_path / "text.onnx", SEEN, BOX)
    path = exported(network(2), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"16 observations of Box\(.*\(5,\)"):
        Agent.from_onnx(path, spaces.Box(-1, 1, (5,), np.float32), BOX)
    with pytest.raises(ValueError, match=r"logits have shape \(16, 2\).*needs \(16, 3\)"):
        Agent.from_onnx(path, SEEN, spaces.Discrete(3))
