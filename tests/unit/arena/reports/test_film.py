"""The film of one episode: what was shown, and rendered images."""

from __future__ import annotations

import base64
import io

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from torch import nn

from aajr import Ball, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.environments._camera import MOST_FRAMES, Camera
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.environments.sources import WithSources
from aajr.arena.reports.film import film
from aajr.arena.spaces.heads import CategoricalHead
from tests.unit.arena.environments.test_gymnasium import balancer, cartpole


class Clock(gymnasium.Env):
    """Shows the time; its image is as grey as the time. An action 1 ends the episode."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(-1, 999, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode=None, broken=False):
        self.render_mode, self.broken, self.time = render_mode, broken, 0

    def _look(self):
        return np.array([self.time, self.start], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.start = 0, float(self.np_random.random())
        return self._look(), {}

    def step(self, action):
        self.time += 1
        return self._look(), 1.0, bool(action), False, {}

    def render(self):
        assert self.render_mode == "rgb_array"
        if self.broken:
            raise RuntimeError("no display")
        return np.full((6, 4, 3), self.time, np.uint8)


def stopper(at: float) -> Agent:
    """Ends the episode when the time that it sees reaches ``at``."""
    network = nn.Linear(2, 2).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    network.bias.copy_(torch.tensor([0.0, -at + 0.5]))
    return Agent(network, CategoricalHead((2,)), 2, "raw")


def clocks(source=Clock, limit: int = 12) -> GymnasiumEnvironment:
    return GymnasiumEnvironment(source, 3, 0, limit=limit)


class Forward(UniformNoise):
    """Puts every clock forward by the whole radius."""

    def run(self, policy, reference, generator):
        found = super().run(policy, reference, generator)
        found.worst.copy_(reference.inputs + self.ball.epsilon * torch.tensor([1.0, 0.0]))
        return found


def hurried(by: float) -> UniformNoise:
    return Forward(Ball("linf", by, mask=torch.tensor([True, False])))


def test_frames_are_those_of_the_very_episode():
    found = film(clocks(), stopper(8), hurried(4.0), episode=1)
    # the agent stops at time 8, and under attack at time 4
    assert found.clean.frames[:, 0, 0, 0].tolist() == list(range(10))
    assert found.attacked.frames[:, 0, 0, 0].tolist() == list(range(6))
    assert found.clean.frames.shape[1:] == (6, 4, 3)
    assert found.frames.shape == (10, 6, 8, 3)
    assert found.frames[7, 0, :, 0].tolist() == [7] * 4 + [5 // 2] * 4
    assert found.problem == ""


def test_what_was_true_and_what_was_shown():
    found = film(clocks(), stopper(8), hurried(4.0), episode=2)
    steps = torch.arange(5.0)
    assert torch.equal(found.attacked.true[:, 0], steps)
    assert torch.equal(found.attacked.shown[:, 0], steps + 4)
    assert torch.equal(found.clean.shown, found.clean.true)
    assert float(found.clean.reward.sum()) == 9
    assert found.names == ("observation[0]", "observation[1]")


def test_a_film_shows_the_attack_that_was_scored():
    ball, agent, environment = Ball("linf", 0.3), balancer(), cartpole(episodes=4)
    source = torch.Generator().manual_seed(derive(environment.seed, "attack"))
    team = AttackedTeam(agent, UniformNoise(ball), source)
    record = play(environment, team)
    found = film(environment, agent, UniformNoise(ball), episode=3)
    played = record.played[3]
    assert torch.equal(found.attacked.true, record.observation[3, played, 0])
    distance = (found.attacked.shown - found.attacked.true).abs()
    assert 0.25 < float(distance.max()) <= 0.3 + 1e-6


def test_a_long_episode_keeps_few_frames():
    found = film(clocks(limit=200), stopper(999))
    every = found.clean.every
    assert len(found.clean.frames) <= MOST_FRAMES
    assert len(found.clean.frames) > MOST_FRAMES // 2 - 1
    assert found.clean.frames[:, 0, 0, 0].tolist() == list(range(0, 201, every))


def test_episodes_of_different_length_keep_in_step():
    found = film(clocks(limit=200), stopper(150), hurried(120.0))
    assert found.attacked.every < found.clean.every
    both = found.frames
    for left, right in zip(both[:, 0, 0, 0], both[:, 0, -1, 0], strict=True):
        assert left == right or right <= found.attacked.frames[-1, 0, 0, 0]


def test_the_gif_holds_the_frames():
    found = film(clocks(), stopper(8), hurried(4.0))
    kind, _, data = found.data_uri().partition(";base64,")
    assert kind == "data:image/gif"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.n_frames, image.size) == (10, (8, 6))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (lambda render_mode=None: Clock(render_mode, broken=True), "RuntimeError: no display"),
        (lambda: Clock(None), "let its factory take it"),
    ],
)
def test_without_images_it_shows_traces(source, problem):
    found = film(clocks(source), stopper(8), hurried(4.0))
    assert problem in found.problem
    assert found.frames.shape[0] == 0
    assert found.data_uri().startswith("data:image/png;base64,")
    assert len(found.attacked.true) == 5
    with pytest.raises(ValueError, match="no frames"):
        found.gif()


def test_the_traces_show_what_was_moved_most():
    figure = film(clocks(), stopper(8), hurried(4.0)).traces().figure
    assert [axis.get_ylabel() for axis in figure.axes] == ["observation[0]", "observation[1]"]
    true, shown = figure.axes[0].lines
    assert np.allclose(shown.get_ydata() - true.get_ydata(), 4.0)
    assert film(clocks(), stopper(8)).attacked is None


def test_mujoco_does_not_look_for_a_display_that_is_not_there(monkeypatch):
    pytest.importorskip("mujoco")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    camera = Camera()
    made = camera.made(GymnasiumEnvironment("Hopper-v5", 1, 0).make)
    assert "MUJOCO_GL=egl" in camera.problem
    camera.look(made)
    assert len(camera.frames) == 0


def test_sources_do_not_hide_the_images():
    radio = WithSources(clocks(), torch.tensor([0, -1]), 1)
    found = film(radio, stopper(8), hurried(4.0))
    assert len(found.frames) == 10


def test_large_images_shrink_by_their_means():
    class Wide:
        def render(self):
            image = np.zeros((401, 800, 3), np.uint8)
            image[::2] = 200
            return image

    camera = Camera()
    camera.look(Wide())
    assert camera.frames.shape == (1, 100, 200, 3)
    assert set(np.unique(camera.frames)) == {100}


@pytest.mark.parametrize(("name", "value"), [("episode", 3), ("episode", -1), ("member", 1)])
def test_an_episode_that_is_not_there(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        film(clocks(), stopper(8), **{name: value})
