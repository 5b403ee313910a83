"""The sensitivity of answers against the dense Jacobian in float64."""

import pytest
import torch

pytest.importorskip("transformers")

from aajr.geometry import Categorical
from aajr.language import Span, sensitivity
from tests.unit.language.models import case, model, tokenizer, victim

CONTROLLED = Span(2, 4, 12)


def dense(places):
    """J of the answer's logits by the embeddings of some tokens, their norm, and ∇ log p."""
    one = victim()
    chat = one.chat(case(controlled=[CONTROLLED]))
    reply = one.reply(one.answers([chat])[0])
    x = one.embedded([chat.ids])

    def logits(part):
        point = x.clone()
        point[0, places] = part
        return one.logits(point, reply)[0]

    e = x[0, places]
    jacobian = torch.autograd.functional.jacobian(logits, e, vectorize=True)
    point = e.clone().requires_grad_()
    log_p = logits(point).log_softmax(-1)[torch.arange(len(reply)), reply].mean()
    return jacobian, e.norm(), torch.autograd.grad(log_p, point)[0], logits(e).detach()


def test_r_is_that_of_the_dense_jacobian():
    found = sensitivity(model(), tokenizer(), [case(controlled=[CONTROLLED])], length=6, draws=40)
    one = victim()
    chat = one.chat(case(controlled=[CONTROLLED]))
    (part,) = (p for p in found.parts if p.controlled)
    jacobian, size, gradient, output = dense(chat.controlled)
    assert part.tokens == len(chat.controlled)

    def r(v):
        change = torch.einsum("tvnd,nd->tv", jacobian, v)
        return (
            float(Categorical().squared_norm(output[None], change[None]))
            * float(size) ** 2
            / len(output)
        )

    assert part.aligned == pytest.approx(r(gradient / gradient.norm()), rel=2e-3)
    draws = [
        torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(i))
        for i in range(400)
    ]
    assert part.random == pytest.approx(sum(r(v / v.norm()) for v in draws) / 400, rel=0.3)


def test_every_message_and_span_is_measured():
    found = sensitivity(model(), tokenizer(), [case(), case("chair")], length=4, draws=1)
    assert [(p.case, p.role, p.controlled) for p in found.parts] == [
        (name, role, controlled)
        for name in ("lamp", "chair")
        for role, controlled in (
            ("system", False),
            ("user", False),
            ("tool", False),
            ("tool", True),
        )
    ]
    same = [p for p in found.parts if p.case == "lamp" and p.role == "tool"]
    assert same[0].aligned == same[1].aligned  # the whole message is the span
    table = found.table()
    assert [row[0] for row in table.rows] == [
        "all of system",
        "all of user",
        "all of tool",
        "what the other party writes",
    ]


def test_the_seed_decides_the_random_directions_alone():
    first, again, other = (
        sensitivity(model(), tokenizer(), [case()], length=4, seed=s).parts[0] for s in (0, 0, 1)
    )
    assert first == again
    assert first.random != other.random
    assert first.aligned == other.aligned


def test_draws_are_checked():
    with pytest.raises(ValueError, match="draws=0"):
        sensitivity(model(), tokenizer(), [case()], draws=0)
