"""sb3-contrib's agents in the arena."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from aajr.arena import Agent
from aajr.arena.environments.episodes import AttackedTeam
from tests.unit.integrations.sb3.test_arena_agents import BOX, acted, model_of, observations
from tests.unit.integrations.sb3.test_training import ACTIONS, VECTOR
from tests.unit.integrations.sb3.test_wrappers import IMAGE, SMALL, games

contrib = pytest.importorskip("sb3_contrib")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not say whether.*", "ignore:.*mini-batch size.*"
)
REPLAY = {"buffer_size": 10}
PLAIN = {"policy_kwargs": {"squash_output": False}}
AGENTS = {
    "TRPO": ("TRPO", VECTOR, BOX, {}),
    "MaskablePPO": ("MaskablePPO", VECTOR, ACTIONS["multidiscrete"], {}),
    "MaskablePPO, bits": ("MaskablePPO", VECTOR, ACTIONS["multibinary"], {}),
    "MaskablePPO, image": ("MaskablePPO", IMAGE, spaces.Discrete(3), {"policy_kwargs": SMALL}),
    "TQC": ("TQC", VECTOR, BOX, REPLAY),
    "TQC, gSDE": ("TQC", VECTOR, BOX, REPLAY | {"use_sde": True}),
    "QRDQN": ("QRDQN", VECTOR, ACTIONS["discrete"], REPLAY),
    "ARS": ("ARS", VECTOR, BOX, {}),
    "ARS, clipped": ("ARS", VECTOR, BOX, PLAIN),
    "ARS, scores": ("ARS", VECTOR, ACTIONS["discrete"], {}),
}


@pytest.mark.parametrize("case", AGENTS.values(), ids=AGENTS)
def test_actions_are_those_of_the_hosts_predict(tmp_path, case):
    name, shown, action, settings = case
    model, raw = model_of(getattr(contrib, name), shown, action, settings), observations(shown)
    expected, _ = model.predict(raw, deterministic=True)
    model.save(tmp_path / "agent.zip")
    for source in (model, tmp_path / "agent.zip"):
        agent = Agent.from_sb3(source)
        np.testing.assert_array_equal(acted(agent, action, raw), expected)
        if name == "ARS":
            assert agent.value is None
        else:
            assert agent.value(agent.sight(raw)).shape == (8,)


def test_values_of_quantiles_are_their_means():
    model = model_of(contrib.TQC, VECTOR, BOX, REPLAY)
    agent, raw = Agent.from_sb3(model), observations(VECTOR)
    x = torch.as_tensor(raw)
    with torch.no_grad():
        action = model.actor(x, deterministic=True)
        expected = model.critic(x, action).mean((1, 2))
    torch.testing.assert_close(agent.value(agent.sight(raw)), expected)


@pytest.mark.parametrize("space", ["box", "discrete"])
def test_an_lstm_remembers_each_episode(tmp_path, space):
    settings = {"policy_kwargs": {"lstm_hidden_size": 5, "n_lstm_layers": 2}, "n_steps": 8}
    action = ACTIONS[space]
    model = model_of(contrib.RecurrentPPO, VECTOR, action, settings, "MlpLstmPolicy")
    model.save(tmp_path / "agent.zip")
    for source in (model, tmp_path / "agent.zip"):
        agent = Agent.from_sb3(source)
        team, raw = AttackedTeam(agent, None, torch.Generator()), games()
        shown, state, start = raw.reset(), None, np.ones(2)
        episodes, following = torch.arange(2), 2
        for _ in range(9):
            expected, state = model.predict(shown, state, start, deterministic=True)
            found = team(agent.sight(shown).unsqueeze(1), episodes)[:, 0].numpy()
            np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)
            shown, _, start, _ = raw.step(np.zeros((2, 2), np.float32))
            for row in np.flatnonzero(start):
                episodes[row], following = following, following + 1


def test_the_gradient_of_an_lstm_is_the_hosts():
    model = model_of(contrib.RecurrentPPO, VECTOR, BOX, {"n_steps": 8}, "MlpLstmPolicy")
    agent, x = Agent.from_sb3(model), torch.as_tensor(observations(VECTOR, 3))
    memory = agent.begin(3) + torch.randn(3, *agent.begin(1).shape[1:])
    state = tuple(part.transpose(0, 1).contiguous() for part in memory.unbind(1))

    def host(x):
        found, _ = model.policy.get_distribution(x, state, torch.zeros(3))
        return found.distribution.loc

    found = torch.autograd.functional.jacobian(lambda x: agent.recall(x, memory)[0][:, :2], x)
    torch.testing.assert_close(found, torch.autograd.functional.jacobian(host, x))
