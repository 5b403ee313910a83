"""The penalty against the dense Jacobian, its invariances, masks, layers, dropout."""

import math

import pytest
import torch

pytest.importorskip("trl")

from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from aajr.geometry import Categorical
from aajr.integrations.trl import Robustness
from aajr.integrations.trl import _outputs as outputs
from aajr.integrations.trl._attacked import attacked, directions, sum_over_sequences
from aajr.integrations.trl._parts import listening, take_apart
from aajr.integrations.trl._penalties import PENALTIES, AttackedBatch, loss_direction
from tests.unit.integrations.trl import hosts

IDS = torch.tensor([[3, 4, 5, 6, 7, 8], [9, 4, 10, 6, 11, 1]])
ANSWER = 3


def scene(network, ids=IDS, rows=None, answer=ANSWER, **settings):
    labels = ids.clone()
    labels[:, :-answer] = -100
    arguments = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    settings = Robustness(weight=1.0, **{"step": 1e-6, **settings})

    def loss():
        given = {k: v for k, v in arguments.items() if k != "labels"}
        logits = network(**given, use_cache=False).logits[:, :-1]
        targets = labels[:, 1:]
        kept = targets != -100
        return torch.nn.functional.cross_entropy(logits[kept], targets[kept])

    parts = take_apart(network)
    where = attacked(arguments, settings.attacker, {})
    rows = torch.arange(len(ids)) if rows is None else rows
    generator = torch.Generator().manual_seed(0)
    return AttackedBatch(parts, settings, arguments, where, rows, loss, generator)


@pytest.fixture(autouse=True)
def _attention_that_can_be_differentiated_forwards():
    with sdpa_kernel(SDPBackend.MATH):
        yield


def network(**changes):
    return hosts.in_float64(hosts.model(attn_implementation="sdpa", **changes))


def from_layer(net, hidden, layer):
    """The logits from a layer's input, written out."""
    decoder = net.model
    positions = torch.arange(hidden.shape[1])[None]
    mask = torch.full((1, 1, hidden.shape[1], hidden.shape[1]), -math.inf).triu(1).to(hidden)
    rotary = decoder.rotary_emb(hidden, position_ids=positions)
    for block in decoder.layers[layer:]:
        hidden = block(hidden, attention_mask=mask, position_embeddings=rotary)
    return net.lm_head(decoder.norm(hidden))


def latent_at(net, layer):
    hidden = net.model.embed_tokens(IDS)
    positions = torch.arange(hidden.shape[1])[None]
    mask = torch.full((1, 1, hidden.shape[1], hidden.shape[1]), -math.inf).triu(1).to(hidden)
    rotary = net.model.rotary_emb(hidden, position_ids=positions)
    for block in net.model.layers[:layer]:
        hidden = block(hidden, attention_mask=mask, position_embeddings=rotary)
    return hidden


def oracle(net, v, layer, metric):
    """‖J v‖²_M ‖h‖² / T, by forward-mode differentiation."""
    latent = latent_at(net, layer)
    logits, change = jvp(lambda h: from_layer(net, h, layer), (latent,), (v,))
    scored = slice(IDS.shape[1] - ANSWER - 1, -1)
    u, du = logits[:, scored], change[:, scored]
    if metric == "fisher":
        size = (du * Categorical().apply(u, du)).sum(-1)
    else:
        size = (du - du.mean(-1, keepdim=True)).square().sum(-1)
    norm = latent[:, : IDS.shape[1] - ANSWER].square().sum((1, 2))
    return (size.mean(1) * norm).mean()


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("metric", ["fisher", "euclidean"])
def test_value_and_gradient_are_those_of_the_dense_jacobian(layer, metric):
    net = network()
    at = scene(net, layer=layer, metric=metric)
    v = loss_direction(at)
    found = PENALTIES["aajr"](at).value
    exact = oracle(net, v, layer, metric)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=0.0)
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, [*net.parameters()])])
        for value in (found, exact)
    ]
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.999999
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * float(gradients[1].abs().max()))


@pytest.mark.parametrize("family", hosts.FAMILIES)
@pytest.mark.parametrize("layer", [0, 1])
def test_other_families_give_the_difference_of_their_own_logits(family, layer):
    """Central differences of the whole model's logits, layers found by name."""
    net = hosts.of_family(family).double().eval()
    at = scene(net, layer=layer, step=1e-4)
    v = loss_direction(at)
    found = PENALTIES["aajr"](at).value
    text = net.get_decoder()
    text = getattr(text, "model", text)
    place = text.layers[1] if layer else net.get_input_embeddings()
    latents, shift = [], [0.0]

    def change(value):
        latents.append(value)
        return value + shift[0] * v

    if layer:
        place.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    else:
        place.register_forward_hook(lambda _, __, output: change(output))
    logits = []
    for shift[0] in (0.0, 1e-3, -1e-3):
        logits.append(net(IDS, use_cache=False).logits[:, IDS.shape[1] - ANSWER - 1 : -1])
    du = (logits[1] - logits[2]) / 2e-3
    size = (du * Categorical().apply(logits[0], du)).sum(-1).mean(1)
    norm = latents[0][:, : IDS.shape[1] - ANSWER].square().sum((1, 2))
    torch.testing.assert_close(found, (size * norm).mean(), rtol=1e-2, atol=0.0)
    for method in ("random_direction", "smart"):
        at = scene(net, layer=layer, method=method, step=1e-4)
        assert PENALTIES[method](at).value.item() > 0


def test_the_direction_is_the_gradient_of_the_loss_on_the_attacked_tokens():
    net = network()
    at = scene(net)
    embeddings = net.model.embed_tokens(IDS).detach().requires_grad_()
    logits = net(inputs_embeds=embeddings).logits[:, 2:-1]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), IDS[:, 3:].flatten())
    (gradient,) = torch.autograd.grad(loss, embeddings)
    gradient[:, 3:] = 0
    expected = gradient / gradient.flatten(1).norm(dim=1)[:, None, None]
    torch.testing.assert_close(loss_direction(at), expected)


def test_the_penalty_does_not_depend_on_the_scale_of_the_residual_stream():
    """Embeddings and all that is added to them times 7: the function stays, and the penalty."""
    net = network(rms_norm_eps=1e-14, tie_word_embeddings=False)
    value = PENALTIES["aajr"](scene(net)).value
    (gradient,) = torch.autograd.grad(value, net.model.embed_tokens.weight)
    with torch.no_grad():
        written = [net.model.embed_tokens.weight]
        for block in net.model.layers:
            written += [block.self_attn.o_proj.weight, block.mlp.down_proj.weight]
        for weight in written:
            weight *= 7
    torch.testing.assert_close(PENALTIES["aajr"](scene(net)).value, value, rtol=1e-4, atol=0.0)
    assert float(gradient.abs().max()) > 0


def test_fisher_is_the_categorical_metric_and_chunks_change_nothing():
    generator = torch.Generator().manual_seed(0)
    clean, moved = (torch.randn(11, 5, generator=generator).double() for _ in range(2))
    head = torch.nn.Linear(5, 7).double()
    u, du = head(clean), head(moved) - head(clean)
    expected = (du * Categorical().apply(u, du)).sum(-1)
    for chunk in (1, 4, 11, 50):
        found = outputs.by_chunks(outputs.fisher, head, clean, moved, chunk)
        torch.testing.assert_close(found, expected)
    gradient = torch.autograd.grad(found.sum(), head.weight)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), head.weight)[0])
    near = outputs.by_chunks(outputs.symmetric_kl, head, clean, clean + 1e-4 * moved, 4)
    limit = outputs.by_chunks(outputs.fisher, head, clean, clean + 1e-4 * moved, 4)
    torch.testing.assert_close(near, limit, rtol=1e-3, atol=0.0)


def test_a_sketch_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    clean, moved = (torch.randn(3, 8, generator=generator).double() for _ in range(2))
    exact = outputs.hidden_change(clean, moved, None, 0)
    draws = torch.stack([outputs.hidden_change(clean, moved, 4, seed) for seed in range(2000)])
    error = (draws.mean(0) - exact).abs() / (draws.std(0) / 2000**0.5)
    assert bool((error < 4).all())


def test_rows_that_share_a_prompt_share_the_sum_of_their_gradients():
    ids = torch.tensor([[3, 4, 5, 6], [3, 4, 7, 8], [3, 9, 5, 6]])
    labels = ids.clone()
    labels[:, :2] = -100
    where = attacked({"input_ids": ids, "labels": labels}, "prompt", {})
    gradient = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    v = directions(gradient, where)
    total = (gradient[0] + gradient[1])[:2]
    torch.testing.assert_close(v[0, :2], total / total.norm())
    assert torch.equal(v[0], v[1])
    torch.testing.assert_close(v[2, :2], gradient[2, :2] / gradient[2, :2].norm())
    assert bool((v[:, 2:] == 0).all())


def test_rows_without_a_gradient_are_left_out_of_the_mean():
    where = attacked({"input_ids": IDS, "labels": IDS.clone()}, "all", {})
    gradient = torch.zeros(2, 6, 4)
    gradient[0] = 1.0
    v = directions(gradient, where)
    assert bool((v[1] == 0).all())
    assert bool(torch.isfinite(v).all())
    value = where.scored.float()[where.scored] * torch.tensor([2.0] * 5 + [9.0] * 5)
    for active, expected in (([True, False], (2.0, 1)), ([False, False], (0.0, 0))):
        found = sum_over_sequences(value, where, torch.tensor(active))
        assert tuple(float(part) for part in found) == expected


@pytest.mark.parametrize("method", ["aajr", "random_direction", "r3f", "smart"])
def test_penalised_rows_are_those_chosen(method):
    net = network()
    both = [
        PENALTIES[method](scene(net, rows=torch.tensor([row]), method=method)).value.item()
        for row in (0, 1)
    ]
    whole = PENALTIES[method](scene(net, method=method)).value.item()
    assert whole == pytest.approx(sum(both) / 2, rel=1e-4)


def test_the_perturbed_pass_skips_the_layers_before():
    net, calls = network(), []
    for index, block in enumerate(net.model.layers):
        block.self_attn.register_forward_hook(lambda *_, index=index: calls.append(index))
    PENALTIES["random_direction"](scene(net, layer=2, method="random_direction"))
    assert calls == [0, 1, 2, 2]
    net(IDS)
    assert calls[4:] == [0, 1, 2]


def test_a_layer_keeps_its_own_forward():
    """Hooks of accelerate replace a layer's forward by one on the instance."""
    net, calls = network(), []
    block = net.model.layers[0]
    plain = block.forward

    def hooked(*args, **kwargs):
        calls.append("hooked")
        return plain(*args, **kwargs)

    block.forward = hooked
    PENALTIES["random_direction"](scene(net, layer=1, method="random_direction"))
    assert vars(block)["forward"] is hooked
    assert "forward" not in vars(net.model.layers[1])
    assert calls == ["hooked"]


def test_dropout_draws_the_same_masks_in_both_passes():
    torch.manual_seed(0)
    net = network(attention_dropout=0.5).train()
    values = [
        PENALTIES["random_direction"](scene(net, step=step, method="random_direction")).value.item()
        for step in (1e-3, 1e-4, 1e-5)
    ]
    quiet = PENALTIES["random_direction"](scene(net.eval(), method="random_direction")).value.item()
    assert all(value < 100 * quiet for value in values)


def test_checkpointing_gives_the_same_gradient():
    gradients = []
    for on in (False, True):
        net = network().train()
        if on:
            net.activation_checkpointing_enable({"use_reentrant": False})
        value = PENALTIES["aajr"](scene(net)).value
        value.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    torch.testing.assert_close(*gradients)


def test_symmetric_kl_at_small_radii_is_the_penalty():
    """KL(p‖q) + KL(q‖p) = ρ² R + O(ρ³) along the same direction: R3F's and SMART's limit."""
    net = network()
    penalty = PENALTIES["random_direction"](scene(net, method="random_direction")).value
    gaps = []
    for radius in (1e-2, 1e-3):
        divergence = PENALTIES["r3f"](scene(net, method="r3f", radius=radius)).value
        gaps.append(abs(divergence.item() / radius**2 / penalty.item() - 1))
    assert gaps[1] < 1e-2
    assert gaps[1] < gaps[0] / 5


def test_smart_beats_random_noise_and_adversarial_raises_the_loss():
    net = network()
    smart = PENALTIES["smart"](scene(net, method="smart", steps=5, radius=0.05)).value
    noise = PENALTIES["r3f"](scene(net, method="r3f", radius=0.05)).value
    assert smart.item() > 2 * noise.item()
    clean = scene(net).loss().item()
    losses = [
        PENALTIES["adversarial"](scene(net, method="adversarial", steps=k, radius=0.3)).value.item()
        for k in (1, 3)
    ]
    assert min(losses) > clean


def test_passes_without_gradients_are_left_alone():
    net = network()
    parts = take_apart(net)
    before = net(IDS).logits
    with listening(parts, 0, lambda latent: latent + 1) as call:
        with torch.no_grad():
            torch.testing.assert_close(net(IDS).logits, before)
        assert call.latents == []
        assert not torch.allclose(net(IDS).logits, before)
    torch.testing.assert_close(net(IDS).logits, before)


def test_the_head_applies_scale_cap_and_temperature():
    net = network()
    net.config.final_logit_softcapping, net.config.logit_scale = 2.0, 0.5
    hidden = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)).double()
    expected = 2.0 * torch.tanh(0.5 * net.lm_head(hidden) / 2.0) / 0.7
    torch.testing.assert_close(take_apart(net, 0.7).head(hidden), expected)
