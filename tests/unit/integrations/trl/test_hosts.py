"""Every supported trainer: the host itself at weight 0, penalised otherwise."""

import pytest
import torch

pytest.importorskip("trl")

from aajr.integrations.trl import METHODS, Robustness, robustify
from tests.unit.integrations.trl import hosts

pytestmark = pytest.mark.filterwarnings("ignore")
every_host = pytest.mark.parametrize("host", hosts.HOSTS)


@every_host
@pytest.mark.parametrize("lora", [None, 0.1], ids=["full", "lora"])
def test_weight_0_is_the_host_bit_for_bit(host, lora, tmp_path):
    results = []
    for robustness in (None, Robustness(weight=0.0, interval=1, warmup=0.0)):
        torch.manual_seed(3)
        trained = hosts.trainer(host, tmp_path, robustness, lora=lora)
        trained.train()
        results.append(
            (hosts.parameters(trained), [h.get("loss") for h in trained.state.log_history])
        )
    (first, losses), (second, other) = results
    assert losses == other
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    start = hosts.parameters(hosts.trainer(host, tmp_path, None, lora=lora))
    assert any(not torch.equal(first[name], start[name]) for name in first)


@every_host
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lora", [None, 0.1], ids=["full", "lora"])
def test_every_method_changes_the_training_and_is_logged(host, method, lora, tmp_path):
    results = []
    for weight in (0.0, 1.0):
        torch.manual_seed(3)
        settings = Robustness(weight=weight, method=method, interval=1, warmup=0.0, fraction=1.0)
        trained = hosts.trainer(host, tmp_path, settings, lora=lora, max_steps=1)
        trained.train()
        results.append((hosts.parameters(trained), trained.state.log_history[0]))
    (host_only, plain), (penalised, logged) = results
    assert not any(name.startswith("aajr/") for name in plain)
    assert logged["aajr/penalty"] != 0
    assert logged["aajr/weight"] == 1.0
    assert 0 < logged["aajr/active_sequences"] <= 1
    assert 0 < logged["aajr/attacked_tokens"] < 1
    assert any(not torch.equal(host_only[name], penalised[name]) for name in penalised)
    assert all(bool(torch.isfinite(p).all()) for p in penalised.values())
    ours = {name for name in logged if name.startswith("aajr/")}
    shared = set(plain) - {"loss", "grad_norm"} & set(logged) - ours
    same = ("num_tokens", "entropy", "reward", "rewards/margins", "mean_token_accuracy")
    assert all(plain[name] == logged[name] for name in shared & set(same))


@every_host
def test_the_penalty_is_due_at_every_interval_and_warms_up(host, tmp_path):
    settings = Robustness(weight=0.6, interval=2, warmup=0.5, fraction=1.0)
    trained = hosts.trainer(host, tmp_path, settings, max_steps=8)
    trained.train()
    weights = [h.get("aajr/weight") for h in trained.state.log_history[:8]]
    assert weights == pytest.approx([None, None, 0.3, None, 0.6, None, 0.6, None])


def test_a_stopped_training_goes_on_to_the_same_model(tmp_path):
    settings = Robustness(weight=0.5, interval=2, warmup=0.5)
    kept = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = hosts.trainer("sft", tmp_path / "a", settings, lora=0.1, **kept)
    whole.train()
    resumed = hosts.trainer("sft", tmp_path / "b", settings, lora=0.1, **kept)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    first, second = hosts.parameters(whole), hosts.parameters(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("host", ["sft", "dpo", "reward"])
def test_accumulation_gives_the_gradient_of_the_whole_batch(host, tmp_path):
    """Two halves of a batch, each penalised in full, are the batch penalised in full."""
    results = []
    for size, steps in ((8, 1), (4, 2)):
        settings = Robustness(weight=5.0, interval=1, warmup=0.0, fraction=1.0)
        trained = hosts.trainer(
            host,
            tmp_path,
            settings,
            dataset=hosts.data(host, 8, length=4),
            network=hosts.model(host).double(),
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            optim="sgd",
            max_grad_norm=0.0,
        )
        start = hosts.parameters(trained)
        trained.train()
        end = hosts.parameters(trained)
        results.append({name: end[name] - start[name] for name in start})
    for name, whole in results[0].items():
        torch.testing.assert_close(results[1][name], whole, rtol=1e-4, atol=1e-7)


def penalised_once(directory, network=None, data=None, accepts=True, **changes):
    """What one step logs that penalises every row, and the parameters' change."""
    given = {key: changes.pop(key) for key in ("method", "attacker") if key in changes}
    settings = Robustness(weight=5.0, interval=1, warmup=0.0, fraction=1.0, **given)
    trained = hosts.trainer(
        "sft",
        directory,
        settings,
        dataset=hosts.data("sft", 8) if data is None else data,
        network=hosts.model("sft").double() if network is None else network,
        **{"max_steps": 1, "optim": "sgd", "max_grad_norm": 0.0, **changes},
    )
    trained.model_accepts_loss_kwargs = accepts
    start = hosts.parameters(trained)
    trained.train()
    end = hosts.parameters(trained)
    moved = torch.cat([(end[name] - start[name]).flatten() for name in start])
    return trained.state.log_history[0], moved


def gap(first, second):
    """Relative: transformers' norms and TRL's losses go through float32."""
    return float((first - second).norm() / second.norm())


def mean_loss(outputs, labels, num_items_in_batch=None):
    """What a training script gives as ``compute_loss_func``."""
    targets = labels[:, 1:]
    return torch.nn.functional.cross_entropy(
        outputs.logits[:, :-1].flatten(0, 1),
        targets.flatten(),
        reduction="mean" if num_items_in_batch is None else "sum",
    ) / (1 if num_items_in_batch is None else num_items_in_batch)


@pytest.mark.parametrize("method", ["aajr", "random_direction"])
def test_labels_that_the_model_is_not_given_are_the_batchs(method, tmp_path):
    """A loss of the same value gives the same penalty; random directions ignore the loss."""
    plain, moved = penalised_once(tmp_path, method=method)
    given, also = penalised_once(tmp_path, method=method, compute_loss_func=mean_loss)
    names = ("aajr/penalty", "aajr/attacked_tokens", "aajr/active_sequences")
    assert [given[name] for name in names] == pytest.approx([plain[name] for name in names], 1e-5)
    assert gap(also, moved) < 1e-4
    if method == "random_direction":
        smoothed, _ = penalised_once(tmp_path, method=method, label_smoothing_factor=0.1)
        assert [smoothed[name] for name in names] == [plain[name] for name in names]


@pytest.mark.parametrize("accepts", [True, False])
def test_a_loss_of_ones_own_accumulates_to_that_of_the_whole_batch(accepts, tmp_path):
    """Whether or not the model itself takes the number of items."""
    moves = [
        penalised_once(
            tmp_path,
            data=hosts.data("sft", 8, length=4),
            compute_loss_func=mean_loss,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            accepts=accepts,
        )[1]
        for size in (8, 4)
    ]
    assert gap(*moves) < 1e-4


@pytest.mark.parametrize("changes", [{}, {"pad_to_multiple_of": 64}, {"packing": True}])
def test_a_batch_without_padding_is_penalised_as_a_padded_one(changes, tmp_path):
    data = hosts.data("sft", 4)
    padded, moved = penalised_once(tmp_path, data=data, max_length=64)
    flat = {"padding_free": True, "max_length": None, **changes}
    if "packing" in changes:
        flat |= {"per_device_train_batch_size": 1, "max_length": 64}
    free, also = penalised_once(tmp_path, data=data, **flat)
    for name in ("aajr/penalty", "aajr/active_sequences"):
        assert free[name] == pytest.approx(padded[name], rel=1e-4)
    assert gap(also, moved) < 1e-4


@pytest.mark.parametrize("family", sorted(set(hosts.FAMILIES) - {"Llama4ForConditionalGeneration"}))
def test_other_families_are_trained(family, tmp_path):
    """Text alone; TRL itself finds no backbone in Llama 4's multimodal class."""
    logged, moved = penalised_once(tmp_path, hosts.of_family(family))
    assert logged["aajr/penalty"] > 0
    assert bool(torch.isfinite(moved).all())


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_tools_return_amid_completions_is_moved(weight, tmp_path):
    """Two tokens of six are a tool's; they follow a prompt of four."""

    def rollout(prompts, trainer):
        said = [[5 + i, 6, 7, 8, 9 + i, 1] for i in range(len(prompts))]
        return {
            "prompt_ids": trainer.processing_class(prompts).input_ids,
            "completion_ids": said,
            "logprobs": None,
            "env_mask": [[1, 1, 0, 0, 1, 1]] * len(said),
        }

    settings = Robustness(weight, attacker="tools", interval=1, warmup=0.0, fraction=1.0)
    data = hosts.data("grpo", length=4)
    trained = hosts.trainer("grpo", tmp_path, settings, dataset=data, rollout_func=rollout)
    trained.train()
    logged = trained.state.log_history[0]
    assert ("aajr/penalty" in logged) == (weight > 0)
    if weight > 0:
        assert logged["aajr/attacked_tokens"] == pytest.approx(2 / 10)
        assert logged["aajr/penalty"] > 0


def test_evaluation_is_the_hosts(tmp_path):
    losses = []
    for robustness in (None, Robustness(weight=1.0, interval=1, warmup=0.0)):
        trained = hosts.trainer("sft", tmp_path, robustness)
        losses.append(trained.evaluate(hosts.data("sft", 8, seed=5))["eval_loss"])
    assert losses[0] == losses[1]


def test_the_robust_trainer_overrides_compute_loss_alone():
    mixin = robustify(hosts.SFTTrainer).__mro__[1]
    overridden = {name for name in vars(mixin) if hasattr(hosts.SFTTrainer, name)}
    assert {name for name in overridden if not name.startswith("__")} == {"compute_loss"}
