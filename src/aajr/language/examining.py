"""Attacks on any causal language model under a whole suite."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from aajr._seeds import derive
from aajr.arena.records.fields import read_record
from aajr.language.attacks.base import Attempt
from aajr.language.cases import Case, checked_cases, read_cases
from aajr.language.chats import Chat
from aajr.language.report import CLEAN, LanguageReport, Transcript, Trial
from aajr.language.suites import Entry, Suite, suite_of
from aajr.language.victim import Progress, Victim
from aajr.report.files import write_json
from aajr.report.provenance import machine_facts, version_facts

PACKAGES = ("aajr", "torch", "transformers", "tokenizers", "numpy", "scipy")


def attack(
    model: Any,
    tokenizer: Any,
    cases: Sequence[Case] | str | Path,
    suite: str | Suite = "standard",
    *,
    length: int = 64,
    batch: int = 16,
    draft: Any = None,
    seed: int = 0,
    name: str = "",
    directory: str | Path | None = None,
    progress: Progress | None = None,
) -> LanguageReport:
    """Attack a causal language model with every attack of a suite on every case.

    The other party of a case writes a part of the chat: it adds an order, swaps words, or moves
    embeddings. The report holds AgentDojo's three figures: the utility without an attack, the
    utility under attack, and the attack success rate, the share of the cases in which the model
    does what the adversary wants.

    Args:
        model: a causal language model of transformers, in evaluation mode; with adapters or not.
        tokenizer: its fast tokenizer, with a chat template.
        cases: the cases, or a file of JSON lines, see :func:`read_cases`.
        suite: ``quick``, ``standard`` or ``thorough``, or a suite of your own.
        length: largest number of tokens of an answer.
        batch: number of prompts that are evaluated at once.
        draft: a smaller model with the same tokens, for probe sampling in the suffix search.
        seed: seed of the attacks.
        name: name of the model in the report; by default the one it was loaded by.
        directory: where the finished parts are kept, so that the same call continues a stopped one;
            None for a temporary directory. Judges and attacks that are functions are known there by
            their names alone: take another directory when their code has changed.
        progress: called before every part with the finished parts, all parts and words about it.

    Returns:
        The report.

    Raises:
        ValueError: a model or tokenizer that cannot be attacked, a case that the chat template
            does not render, or one of which the other party writes no token.

    Source: Debenedetti et al., AgentDojo, 2024, https://arxiv.org/abs/2406.13352.
    """
    begin = time.perf_counter()
    victim = Victim(model, tokenizer, length, batch)
    other = None if draft is None else Victim(draft, tokenizer, length, batch)
    found = read_cases(cases) if isinstance(cases, str | Path) else checked_cases(cases)
    chats = [victim.chat(case) for case in found]
    for chat in chats:
        _ = chat.spans
    chosen = suite_of(suite, other) if isinstance(suite, str) else suite
    place = tempfile.TemporaryDirectory() if directory is None else nullcontext(str(directory))
    with place as kept:
        run = _Run(victim, chats, chosen, seed, Path(kept) / _digest(victim, chats, seed), progress)
        trials = run.trials()
    own = getattr(model.config, "name_or_path", "") or type(model).__name__
    return LanguageReport(
        model=name or str(own),
        trials=trials,
        suite=chosen.facts(),
        cases=tuple(_facts(case) for case in found),
        answers={"most tokens": length, "chosen": "the most probable token each time"},
        left_out=run.left_out,
        seed=seed,
        seconds=time.perf_counter() - begin,
        machine=machine_facts(),
        versions=version_facts(PACKAGES),
    )


class _Run:
    """All attacks on all cases, each kept in a file."""

    def __init__(
        self,
        victim: Victim,
        chats: Sequence[Chat],
        suite: Suite,
        seed: int,
        directory: Path,
        progress: Progress | None,
    ) -> None:
        self.victim, self.chats, self.suite, self.seed = victim, chats, suite, seed
        self.directory, self.progress = directory, progress
        self.left_out: dict[str, str] = {}
        self.done = 0

    def trials(self) -> tuple[Trial, ...]:
        """The trial without an attack and those of the suite; attacks that always stop are out."""
        clean = [self._clean(index) for index in range(len(self.chats))]
        found = [Trial(attack=CLEAN, kind="none", transcripts=tuple(clean))]
        for entry in self.suite.entries:
            answers = [self._attacked(entry, i, one.answer) for i, one in enumerate(clean)]
            kept = tuple(one for one in answers if one is not None)
            if kept:
                found.append(Trial(attack=entry.name, kind=entry.kind, transcripts=kept))
        return tuple(found)

    def _clean(self, index: int) -> Transcript:
        self._tell(CLEAN, index)
        path = self.directory / CLEAN / f"{index}.json"
        if not path.exists():
            self._keep(path, index, [Attempt(self.chats[index])])
        return read_record(Transcript, path, "remove it")

    def _attacked(self, entry: Entry, index: int, clean: str) -> Transcript | None:
        """One attack on one case; None if the attack does not fit it, which is noted."""
        self._tell(entry.name, index)
        chat, key = self.chats[index], _digest_of(self.suite.facts()["attacks"], entry.name)
        path = self.directory / f"{entry.name}-{key}" / f"{index}.json"
        if not path.exists():
            seed = derive(self.seed, entry.name, chat.case.name)
            generator = torch.Generator().manual_seed(seed)
            try:
                attempts = entry.attack(self.victim, chat, clean, generator)
            except ValueError as error:
                self.left_out[f"{entry.name} on {chat.case.name}"] = str(error)
                return None
            self._keep(path, index, attempts)
        return read_record(Transcript, path, "remove it")

    def _keep(self, path: Path, index: int, attempts: Sequence[Attempt]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dataclasses.asdict(self._judged(index, attempts)))

    def _judged(self, index: int, attempts: Sequence[Attempt]) -> Transcript:
        """The worst of the attempts, with the judgement of all."""
        case = self.chats[index].case
        answers = self.victim.answers([one.shown for one in attempts])
        right = [case.right(answer) for answer in answers]
        harmful = [case.harmful(answer) for answer in answers]
        worst = harmful.index(True) if any(harmful) else right.index(min(right))
        one = attempts[worst]
        return Transcript(
            case=case.name,
            texts=one.chat.texts,
            answer=answers[worst],
            right=all(right),
            harmful=any(harmful),
            attempts=len(attempts),
            size=one.size,
            gain=one.gain,
            converged=one.converged,
        )

    def _tell(self, attack: str, index: int) -> None:
        if self.progress is not None:
            parts = (1 + len(self.suite.entries)) * len(self.chats)
            self.progress(self.done, parts, f"{attack}: case {self.chats[index].case.name}")
        self.done += 1


def _digest(victim: Victim, chats: Sequence[Chat], seed: int) -> str:
    """A digest of the cases, the seed, and what the model computes at the first case."""
    with torch.no_grad():
        logits = victim.model(inputs_embeds=victim.embedded([chats[0].ids]), use_cache=False).logits
    total = hashlib.sha256(logits.float().cpu().numpy().tobytes())
    total.update(json.dumps([_facts(chat.case) for chat in chats]).encode())
    total.update(repr((seed, victim.length)).encode())
    return total.hexdigest()[:12]


def _digest_of(attacks: Sequence[dict[str, Any]], name: str) -> str:
    (own,) = (one for one in attacks if one["name"] == name)
    return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:8]


def _facts(case: Case) -> dict[str, Any]:
    """A case as JSON values; of functions their names."""
    found = dataclasses.asdict(case)
    for name in ("right", "harmful"):
        function = found[name]["function"]
        if callable(function):
            function = f"{function.__module__}:{getattr(function, '__qualname__', function)}"
        found[name] = {key: value for key, value in found[name].items() if value is not None}
        if function is not None:
            found[name]["function"] = function
    return found
