"""Whole episodes of a task for TRL's GRPO, as its ``rollout_func``."""

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
    """Rows of a data set: the first prompts of episodes."""
    return [{"prompt": state.shown} for state in task.start(episodes, seed)]


def rollouts(task: Task[Any], episodes: int, seed: int) -> Rollouts:
    """Build a ``rollout_func``; a completion holds sampled replies, and the task's text between.

    All completions of a group play the same episode. The task's text has ``env_mask`` 0, so that
    only the model's own words enter the loss. ``worth`` is the return of an episode.

    Args:
        task: the task.
        episodes: number of episodes, the same ones as in :func:`openings`.
        seed: seed of the episodes and of the replies.
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
    """The reward function for :func:`rollouts`: the return of each episode."""
    return worth


def _sampled(model: Any, prompts: list[list[int]], generator: torch.Generator) -> list[list[int]]:
    """Sample replies, cut after the end token."""
    with torch.no_grad():
        ids = torch.tensor(prompts, device=model.device)
        rows = replies(model, model.get_input_embeddings()(ids), generator).tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]
