"""The attacked model: its answers, and how probable it finds an answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aajr._settings import check_count
from aajr.language.cases import Case
from aajr.language.chats import Chat
from aajr.language.pieces import decoder
from aajr.language.roles import Template, read_template

Progress = Callable[[int, int, str], None]
"""Function that is called with the finished parts, all parts, and words about the next one."""


@dataclass(frozen=True, eq=False)
class Victim:
    """A causal language model under attack.

    Attributes:
        model: a causal language model of transformers, in evaluation mode.
        tokenizer: its fast tokenizer, with a chat template.
        length: largest number of tokens of an answer; answers are the most probable ones.
        batch: number of prompts that are evaluated at once.

    Raises:
        ValueError: a model without input embeddings or generation, an encoder-decoder, a model in
            training mode, numbers below 1.
    """

    model: Any
    tokenizer: Any
    length: int = 64
    batch: int = 16

    def __post_init__(self) -> None:
        check_count("length", self.length)
        check_count("batch", self.batch)
        kind = type(self.model).__name__
        able = hasattr(self.model, "get_input_embeddings") and hasattr(self.model, "generate")
        if not able or getattr(self.model.config, "is_encoder_decoder", False):
            raise ValueError(f"{kind} is no causal language model of transformers; use one")
        if self.model.training:
            raise ValueError(f"{kind} is in training mode, so dropout is on; call model.eval()")

    @property
    def device(self) -> torch.device:
        """Where the model's input goes."""
        return self.table.weight.device

    @property
    def table(self) -> Any:
        """The module from token ids to embeddings."""
        return self.model.get_input_embeddings()

    @cached_property
    def vocabulary(self) -> list[str]:
        """Text of every token that the tokenizer has; '' for special ones."""
        decode, special = decoder(self.tokenizer), set(self.tokenizer.all_special_ids)
        special |= {i for i, one in self.tokenizer.added_tokens_decoder.items() if one.special}
        count = min(len(self.tokenizer), self.table.weight.shape[0])
        return ["" if i in special else decode((i,)) for i in range(count)]

    @cached_property
    def template(self) -> Template:
        """The marks of the chat template."""
        return read_template(self.tokenizer, ())

    def chat(self, case: Case) -> Chat:
        """The case as this model reads it."""
        return Chat.of(case, self.tokenizer)

    def embedded(self, texts: Sequence[Sequence[int]] | Tensor) -> Tensor:
        """Embeddings of texts of equal length, ``[rows, tokens]`` to ``[rows, tokens, d]``."""
        with torch.no_grad():
            found: Tensor = self.table(torch.as_tensor(texts, device=self.device))
        return found

    def reply(self, text: str) -> Tensor:
        """Token ids of an answer's beginning, ``[words]``."""
        ids = self.tokenizer(text, add_special_tokens=False).input_ids[: self.length]
        return torch.tensor(ids, device=self.device)

    def answers(self, prompts: Sequence[Chat | Tensor]) -> list[str]:
        """The most probable answers to chats, or to embeddings ``[tokens, d]``."""
        found: list[str] = []
        for start in range(0, len(prompts), self.batch):
            found += self._answered(prompts[start : start + self.batch])
        return found

    def prefix(self, ids: Sequence[int]) -> Any:
        """What the model remembers of a beginning that all prompts share; None if it cannot.

        Models whose memory is not one of keys and values of all tokens read the whole prompt.
        """
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        if not ids:
            return None
        with torch.no_grad():
            output = self.model(inputs_embeds=self.embedded([ids]), use_cache=True)
        cache: Any = getattr(output, "past_key_values", None)
        layers = getattr(cache, "layers", ())
        whole = type(cache) is DynamicCache and all(type(one) is DynamicLayer for one in layers)
        return cache if whole else None

    def log_probability(self, embeddings: Tensor, reply: Tensor, prefix: Any = None) -> Tensor:
        """Mean log p of an answer's tokens after each prompt, ``[rows]``; differentiable.

        Args:
            embeddings: embeddings of the prompts, ``[rows, tokens, d]``; after a prefix, of the
                rest.
            reply: token ids of the answer, ``[words]``.
            prefix: the result of :meth:`prefix`.
        """
        logits = self.logits(embeddings, reply, prefix)
        log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        index = reply.expand(len(logits), -1).unsqueeze(-1)
        return log_p.gather(-1, index).squeeze(-1).mean(-1)

    def logits(self, embeddings: Tensor, reply: Tensor, prefix: Any = None) -> Tensor:
        """Logits of every token of an answer after each prompt, ``[rows, words, vocabulary]``.

        The arguments are those of :meth:`log_probability`.
        """
        rows, words = len(embeddings), len(reply)
        said = self.embedded(reply[None, :-1]).to(embeddings).expand(rows, -1, -1)
        arguments: dict[str, Any] = {"logits_to_keep": words} if self._keeps_logits else {}
        if prefix is not None:
            memory = deepcopy(prefix)
            memory.batch_repeat_interleave(rows)
            arguments |= {"past_key_values": memory}
        shown = torch.cat([embeddings, said], 1)
        output = self.model(inputs_embeds=shown, use_cache=prefix is not None, **arguments)
        found: Tensor = output.logits[:, -words:]
        return found

    @cached_property
    def _keeps_logits(self) -> bool:
        """Whether the model can leave out the logits of the prompt."""
        base = getattr(self.model, "get_base_model", lambda: self.model)()
        return "logits_to_keep" in inspect.signature(base.forward).parameters

    def _answered(self, prompts: Sequence[Chat | Tensor]) -> list[str]:
        rows = [p if isinstance(p, Tensor) else self.embedded([p.ids])[0] for p in prompts]
        longest = max(map(len, rows))
        shown = rows[0].new_zeros(len(rows), longest, rows[0].shape[-1])
        present = torch.zeros(len(rows), longest, dtype=torch.long, device=self.device)
        for index, row in enumerate(rows):
            shown[index, longest - len(row) :] = row
            present[index, longest - len(row) :] = 1
        with torch.no_grad():
            found = self.model.generate(
                inputs_embeds=shown,
                attention_mask=present,
                max_new_tokens=self.length,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=self._padding,
            )
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in found]

    @property
    def _padding(self) -> int:
        for known in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if known is not None:
                return int(known)
        return 0
