"""The role that wrote each token of a chat, found by the marks of the chat template.

The template renders short conversations with known contents. The text that always stands before
or after a role's content is a mark of this role. The marks are then searched in the text of any
tokens: truncated, packed or generated. The search is by character, so a token that holds both
content and a part of a mark is recognised.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aajr.language.pieces import decoder

Message = dict[str, Any]
Span = tuple[str, int, int]
"""Role, index of the first character, index after the last."""

ROLES = ("system", "user", "assistant", "tool")
CONTENTS = ("qzaqz", "qzbqz", "qzcqz", "qzdqz", "qzeqz")
"""Contents of the probes: words that no template writes itself."""

CALLS: tuple[Message | str, ...] = ({"place": 7}, {"name": "x", "all": [True]}, '{"place": 7}')


def _tool(name: str, properties: Message) -> Message:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": f"To {name}.", "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS: tuple[list[Message] | None, ...] = (
    None,
    [_tool("look", {"place": {"type": "integer", "description": "Where."}})],
    [_tool("wait", {})],
    [{"type": "function", "function": {"name": "rest", "description": "Rest."}}],
)
PROBES = (
    "u",
    "su",
    "ua",
    "sua",
    "uau",
    "uaua",
    "suau",
    "ut",
    "uta",
    "utt",
    "uatu",
    "utau",
    "utaut",
    "uautu",
)
"""Short conversations as initials of roles; the assistant calls a tool before its turn."""


@dataclass(frozen=True)
class Template:
    """The marks of a chat template.

    Attributes:
        openings: pairs of a text that stands directly before a role's content, and the role.
        closings: for each role the text that ends its content; empty if the next opening does.
        inner: separators before the user's words, if the template writes the system prompt or
            descriptions of tools into the same turn.
        piece: function from a token to its text.
    """

    openings: tuple[tuple[str, str], ...]
    closings: Mapping[str, str]
    inner: tuple[str, ...]
    piece: Callable[[int], str]

    def masks(self, ids: Tensor) -> dict[str, Tensor]:
        """For each role the mask ``[rows, tokens]`` of the tokens that it wrote.

        A token that holds a part of a mark, spaces ignored, belongs to no role. The end of the
        assistant's turn belongs to the assistant.
        """
        found = {role: torch.zeros(ids.shape, dtype=torch.bool) for role in ROLES}
        for row, tokens in enumerate(ids.tolist()):
            pieces = [self.piece(token) for token in tokens]
            roles = self._roles("".join(pieces))
            place = 0
            for column, piece in enumerate(pieces):
                written = {roles[place + i] for i, sign in enumerate(piece) if not sign.isspace()}
                written = written or {roles[place + i] for i in range(len(piece))}
                place += len(piece)
                if len(written) == 1 and None not in written:
                    found[written.pop()][row, column] = True
        return {role: mask.to(ids.device) for role, mask in found.items()}

    def _roles(self, text: str) -> list[Any]:
        roles: list[str | None] = [None] * len(text)
        for role, start, end in self.spans(text):
            if role == "assistant":
                end += len(self.closings[role].rstrip())
            roles[start:end] = [role] * (min(end, len(text)) - start)
        return roles

    def spans(self, text: str) -> list[Span]:
        """The spans of the roles' contents in a text, in order."""
        marks = sorted(self._marks(text))
        found: list[Span] = []
        index, place = 0, 0
        while index < len(marks):
            start, end, role = marks[index]
            index += 1
            if start < place:
                continue
            while index < len(marks) and marks[index][0] <= end:
                if marks[index][1] > end:  # a longer mark, or one that begins inside
                    end, role = marks[index][1:]
                index += 1
            place = self._end(text, end, role, marks[index:])
            found.append((role, end, place))
        return [self._own(text, span) for span in found]

    def _marks(self, text: str) -> Iterable[tuple[int, int, str]]:
        for opening, role in self.openings:
            start = text.find(opening)
            while start >= 0:
                yield start, start + len(opening), role
                start = text.find(opening, start + 1)

    def _end(self, text: str, start: int, role: str, later: Sequence[tuple[int, int, str]]) -> int:
        closing = self.closings[role]
        if not closing:  # a system prompt may quote a tool's mark, so only another turn ends it
            ends = (mark[0] for mark in later if role != "system" or mark[2] != "tool")
            return next(ends, len(text))
        end = text.find(closing, start)
        return len(text) if end < 0 else end

    def _own(self, text: str, span: Span) -> Span:
        """The span without a system prompt or tools that begin the user's turn."""
        role, start, end = span
        if role == "user":
            lasts = ((text.rfind(inner, start, end), len(inner)) for inner in self.inner)
            start = max([start, *(last + size for last, size in lasts if last >= 0)])
        return role, start, end


def read_template(tokenizer: Any, roles: Sequence[str], template: str | None = None) -> Template:
    """Learn the marks of a tokenizer's chat template.

    Args:
        tokenizer: a tokenizer of transformers.
        roles: roles that must be distinguished from all others.
        template: a template that replaces the tokenizer's own.

    Raises:
        ValueError: no template, or one that does not distinguish these roles.
    """
    remedy = "give attacker a function that marks their tokens"
    if template is None and not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"attacker={tuple(roles)} needs a chat template and there is none; {remedy}"
        )
    piece = _pieces(tokenizer)
    probes = [
        Rendering(probe, text, tools is not None)
        for probe in PROBES
        for tools in TOOLS
        for text in _texts(tokenizer, piece, probe, tools, template)
    ]
    found = _learn(probes, piece)
    unknown = [role for role in roles if not _tells(found, probes, role)]
    if unknown:
        raise ValueError(
            f"the chat template does not tell who wrote the words of {', '.join(unknown)}; {remedy}"
        )
    return found


def _pieces(tokenizer: Any) -> Callable[[int], str]:
    """Function from a token to its text."""
    decode = decoder(tokenizer)
    return functools.cache(lambda token: decode((token,)))


@dataclass(frozen=True)
class Rendering:
    """A short conversation as the template renders it.

    Attributes:
        probe: initials of the roles.
        text: the text of its tokens.
        tools: whether the template was given tools.
    """

    probe: str
    text: str
    tools: bool

    def contents(self, role: str) -> list[str]:
        """The contents of a role's turns."""
        said = zip(self.probe, CONTENTS, strict=False)
        return [word for initial, word in said if role[0] == initial and word in self.text]

    def gaps(self) -> list[tuple[str, str, str]]:
        """Triples of the role before a gap, the role after it ('' at the ends), and its text."""
        places = [(self.text.find(word), i) for i, word in enumerate(CONTENTS[: len(self.probe)])]
        if min(places)[0] < 0:
            return []
        names = {role[0]: role for role in ROLES}
        found, before, place = [], "", 0
        for start, index in sorted(places):
            after = names[self.probe[index]]
            found.append((before, after, self.text[place:start]))
            before, place = after, start + len(CONTENTS[index])
        return [*found, (before, "", self.text[place:])]


def _texts(
    tokenizer: Any,
    piece: Callable[[int], str],
    probe: str,
    tools: list[Message] | None,
    template: str | None,
) -> Iterable[str]:
    """The template's renderings of a conversation, decoded from tokens; none if it raises."""
    for call in CALLS if "t" in probe and tools is None else CALLS[:1]:
        for parts in (False, True):
            chat = _conversation(probe, call, parts)
            try:
                text = tokenizer.apply_chat_template(
                    chat, tokenize=False, tools=tools, chat_template=template
                )
            except Exception:  # a template may raise any exception
                continue
            if CONTENTS[0] in text:
                ids = tokenizer(text, add_special_tokens=False).input_ids
                yield "".join(piece(token) for token in ids)
                break


def _conversation(probe: str, arguments: Message | str, parts: bool) -> list[Message]:
    """The turns of a probe; contents are text, or lists of parts for multimodal templates."""
    names = {role[0]: role for role in ROLES}
    turns: list[Message] = []
    for index, initial in enumerate(probe):
        if initial == "t" and probe[index - 1] == "u":
            call = {"name": "look", "arguments": arguments}
            called = {"type": "function", "id": "abcdefghi", "function": call}
            turns.append({"role": "assistant", "content": "", "tool_calls": [called]})
        content = [{"type": "text", "text": CONTENTS[index]}] if parts else CONTENTS[index]
        turn: Message = {"role": names[initial], "content": content}
        if initial == "t":
            turn |= {"name": "look", "tool_call_id": "abcdefghi"}
        turns.append(turn)
    return turns


def _learn(probes: Sequence[Rendering], piece: Callable[[int], str]) -> Template:
    gaps = [gap for probe in probes for gap in probe.gaps()]
    closings = {}
    for role in ROLES:
        closing = _prefix([text for before, _, text in gaps if before == role])
        closings[role] = closing if _distinctive(closing) else ""
    plain = [gap for probe in probes if not probe.tools for gap in probe.gaps()]
    base = _shortest(
        {text for before, after, text in plain if after == "user" and before != "system"}
    )
    user, inner = _users(base, {gap for gap in gaps if gap[1] == "user"})
    openings = [(opening, "user") for opening in user]
    for role in ("assistant", "tool") if inner else ("system", "assistant", "tool"):
        texts = _shortest({text for _, after, text in gaps if after == role})
        openings += [(opening, role) for opening in texts]
    ends = {
        role: _before_opening(end, [mark for mark, _ in openings]) for role, end in closings.items()
    }
    return Template(tuple(openings), ends, inner, piece)


def _before_opening(closing: str, openings: Sequence[str]) -> str:
    """A closing without the next turn's opening: a system prompt always stands before a user."""
    for opening in openings:
        shorter = closing.removesuffix(opening)
        if shorter != closing and _distinctive(shorter):
            return shorter
    return closing


def _users(
    base: Sequence[str], gaps: Iterable[tuple[str, str, str]]
) -> tuple[list[str], tuple[str, ...]]:
    """Openings of the user's turn, and separators before the user's words inside it."""
    more, rests = set(base), dict[str, list[str]]()
    for before, _, text in gaps:
        if any(text.endswith(opening) for opening in base):
            continue
        if any(_distinctive(_suffix([text, opening])) for opening in base):
            more.add(text)
            continue
        turn = max(
            (text.rfind(opening) + len(opening) for opening in base if opening in text), default=0
        )
        rests.setdefault(before, []).append(text[turn:])
    inner = {_suffix(texts) for texts in rests.values()}
    return _shortest(more), tuple(sorted(inner - {""}))


def _shortest(texts: set[str]) -> list[str]:
    """The common ending of all texts; if it is too short, the texts that end with no other text."""
    texts = texts - {""}
    common = _suffix(list(texts))
    if _distinctive(common):
        return [common]
    return sorted(t for t in texts if not any(t != o and t.endswith(o) for o in texts))


def _prefix(texts: Sequence[str]) -> str:
    first, last = min(texts, default=""), max(texts, default="")
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return first[: len(list(same))]


def _suffix(texts: Sequence[str]) -> str:
    return _prefix([text[::-1] for text in texts])[::-1]


def _distinctive(text: str) -> bool:
    """Whether a text is long enough to be a mark."""
    return len("".join(text.split())) > 3


def _tells(template: Template, probes: Sequence[Rendering], role: str) -> bool:
    """Whether exactly the role's contents are found in every probe."""
    exact = True
    for probe in probes:
        found = [
            probe.text[a:b].strip() for name, a, b in template.spans(probe.text) if name == role
        ]
        said = probe.contents(role)
        if role == "assistant":  # its tool calls belong to it too
            others = {word for name in ROLES if name != role for word in probe.contents(name)}
            whole = " ".join(found)
            exact &= all(word in whole for word in said) and not any(o in whole for o in others)
        else:
            exact &= found == said
    return exact and any(probe.contents(role) for probe in probes)
