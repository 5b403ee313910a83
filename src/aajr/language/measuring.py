"""How strongly a model's answer depends on each part of a chat, measured without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aajr._seeds import derive
from aajr._settings import check_count
from aajr.geometry import Categorical
from aajr.jacobian import directional_derivative
from aajr.language.cases import Case, Span, checked_cases, read_cases
from aajr.language.chats import Chat
from aajr.language.victim import Progress, Victim
from aajr.report.tables import Table
from aajr.report.wording import number, plural


@dataclass(frozen=True)
class Part:
    """The sensitivity of one answer to one message, or to what the other party wrote in it.

    Attributes:
        case: name of the case.
        message: index of the message.
        role: its role.
        controlled: whether this is a span that the other party writes; else the whole message.
        tokens: number of its tokens.
        aligned: R along the direction in which the answer becomes improbable fastest.
        random: mean R along random directions.
    """

    case: str
    message: int
    role: str
    controlled: bool
    tokens: int
    aligned: float
    random: float


@dataclass(frozen=True)
class Sensitivity:
    """What :func:`sensitivity` measured.

    Attributes:
        parts: all parts of all cases.
    """

    parts: tuple[Part, ...]

    def table(self) -> Table:
        """Medians by role, and over what the other party writes."""
        groups = {f"all of {role}": self._of(role) for role in self.roles}
        groups["what the other party writes"] = [one for one in self.parts if one.controlled]
        columns = ("part", "parts", "tokens", "R, aligned", "R, random", "aligned / random")
        rows = tuple(_row(name, found) for name, found in groups.items() if found)
        note = (
            "Medians. R = ‖J v‖² ‖e‖² / T in the Fisher metric: ½ R ρ² is the mean KL divergence "
            "of the T next-token distributions if the part's embeddings e move by ρ‖e‖ along v."
        )
        return Table("Sensitivity of the answers", columns, rows, (note,))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the order of the chats."""
        return tuple(dict.fromkeys(one.role for one in self.parts if not one.controlled))

    def _of(self, role: str) -> list[Part]:
        return [one for one in self.parts if one.role == role and not one.controlled]


def sensitivity(
    model: Any,
    tokenizer: Any,
    cases: Sequence[Case] | str | Path,
    *,
    length: int = 64,
    draws: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """R = ‖J v‖²_F ‖e‖² / T of the model's own answers, for every message and controlled span.

    J maps the embeddings e of a part to the logits of the T tokens of the answer. v is the unit
    gradient of the answer's log-probability, or random. ``‖·‖_F`` is the Fisher norm. J v is a
    central difference, in the model's own precision; load it in float32.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        tokenizer: its fast tokenizer, with a chat template.
        cases: the cases, or a file of JSON lines; their judges are not used.
        length: largest number of tokens of an answer.
        draws: number of random directions for each part.
        seed: seed of the random directions.
        progress: called before every case with the finished cases, all cases and the case's name.

    Returns:
        The parts. Messages without text are left out.

    Raises:
        ValueError: a model or tokenizer that cannot be attacked, a case that the chat template
            does not render as it is.
    """
    check_count("draws", draws)
    victim = Victim(model, tokenizer, length)
    found = read_cases(cases) if isinstance(cases, str | Path) else checked_cases(cases)
    parts: list[Part] = []
    for index, case in enumerate(found):
        if progress is not None:
            progress(index, len(found), case.name)
        chat = victim.chat(case)
        reply = victim.reply(victim.answers([chat])[0])
        if len(reply):
            generator = torch.Generator().manual_seed(derive(seed, "sensitivity", case.name))
            parts += _parts(victim, chat, reply, draws, generator)
    return Sensitivity(tuple(parts))


def _parts(
    victim: Victim, chat: Chat, reply: Tensor, draws: int, generator: torch.Generator
) -> list[Part]:
    case = chat.case
    whole = [
        Span(i, 0, len(one["content"]))
        for i, one in enumerate(case.messages)
        if isinstance(one.get("content"), str) and one["content"].strip()
    ]
    found = []
    for controlled, spans in ((False, whole), (True, case.spans)):
        for span in spans:
            place = victim.chat(replace(case, controlled=(span,))).controlled
            aligned, random = _measured(victim, chat, place, reply, draws, generator)
            role = str(case.messages[span.message].get("role"))
            name = case.name
            found.append(Part(name, span.message, role, controlled, len(place), aligned, random))
    return found


def _measured(
    victim: Victim,
    chat: Chat,
    places: Sequence[int],
    reply: Tensor,
    draws: int,
    generator: torch.Generator,
) -> tuple[float, float]:
    """R along the gradient, and its mean along random directions."""
    x = victim.embedded([chat.ids])
    mask = torch.zeros(x.shape[1], 1, dtype=x.dtype, device=x.device)
    mask[list(places)] = 1.0
    point = x.clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(victim.log_probability(point, reply).sum(), point)
    scale = float((x * mask).norm()) ** 2 / len(reply)

    def size(v: Tensor) -> float:
        v = v * mask / (v * mask).norm().clamp_min(1e-30)
        with torch.no_grad():
            output, change = directional_derivative(
                lambda e: victim.logits(e, reply), x, v, "central_difference"
            )
        return scale * float(Categorical().squared_norm(output, change))

    noise = [torch.randn(x.shape, generator=generator).to(x) for _ in range(draws)]
    return size(gradient), float(np.mean([size(one) for one in noise]))


def _row(name: str, parts: Sequence[Part]) -> tuple[str, ...]:
    def median(values: Sequence[float]) -> str:
        return number(float(np.median(values)))

    ratios = [one.aligned / one.random for one in parts if one.random > 0]
    return (
        name,
        plural(len(parts), "part"),
        f"{np.median([one.tokens for one in parts]):.0f}",
        median([one.aligned for one in parts]),
        median([one.random for one in parts]),
        median(ratios) if ratios else number(None),
    )
