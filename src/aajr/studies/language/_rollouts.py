"""Whole episodes for TRL's GRPO: its ``rollout_func``, in which the model meets the task."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from aajr.studies.language._play import replies
from aajr.studies.language._tasks import Task
from aajr.studies.language._tokens import END, decode, encode

Rollouts = Callable[[list[str], Any], dict[str, Any]]


def openings(task: Task[Any], episodes: int, seed: int) -> list[dict[str, str]]:
    """Rows of a data set: what episodes begin with."""
    return [{"prompt": state.shown} for state in task.start(episodes, seed)]


def rollouts(task: Task[Any], episodes: int, seed: int) -> Rollouts:
    """A ``rollout_func``: sampled replies, and between them what the task shows.

    Completions of one group meet one episode. What the task shows has ``env_mask`` 0, so that
    only the model's own words enter the loss; ``worth`` is an episode's return.

    Args:
        task: the game.
        episodes: drawn as :func:`openings` draws them.
        seed: of the episodes and of the replies.
    """
    known: dict[str, list[Any]] = defaultdict(list)
    for state in task.start(episodes, seed):
        known[state.shown].append(state)
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def roll(prompts: list[str], trainer: Any) -> dict[str, Any]:
        size, states = trainer.num_generations, []
        for prompt in prompts[::size]:
            states += [draw.choice(known[prompt])] * size
        said: list[list[int]] = [[] for _ in prompts]
        own: list[list[int]] = [[] for _ in prompts]
        while running := [i for i, state in enumerate(states) if not state.finished]:
            read = [encode(states[i].shown) for i in running]
            answers = _sampled(trainer.model, read, generator)
            for i, before, answer in zip(running, read, answers, strict=True):
                states[i] = task.step(states[i], decode(answer))
                shown = encode(states[i].shown)[len(before) + len(answer) :]
                said[i] += answer + shown
                own[i] += [1] * len(answer) + [0] * len(shown)
        return {
            "prompt_ids": [encode(prompt) for prompt in prompts],
            "completion_ids": said,
            "logprobs": None,
            "env_mask": own,
            "worth": [task.worth(state) for state in states],
        }

    return roll


def returned(completions: list[str], worth: list[float], **_: Any) -> list[float]:
    """The reward function that goes with :func:`rollouts`."""
    return worth


def _sampled(model: Any, prompts: list[list[int]], generator: torch.Generator) -> list[list[int]]:
    """Replies up to their end, which is included."""
    with torch.no_grad():
        ids = torch.tensor(prompts, device=model.device)
        rows = replies(model, model.get_input_embeddings()(ids), generator).tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]
