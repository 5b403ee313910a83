"""Which rows are drawn, who controls which token, and what is refused."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("trl")

from accelerate.utils import DynamoBackend
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from aajr.integrations.trl import Robustness, robustify
from aajr.integrations.trl._attacked import attacked
from aajr.integrations.trl._batches import choose, unpacked
from aajr.integrations.trl._host import check_host, precision
from aajr.integrations.trl._parts import take_apart
from tests.unit.integrations.trl import hosts

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count):
    return {"input_ids": torch.arange(count * 3).reshape(count, 3), "labels": torch.ones(count, 3)}


@pytest.mark.parametrize(("fraction", "rows"), [(0.125, 1), (0.5, 4), (1.0, 8)])
def test_a_share_of_the_rows_is_drawn(fraction, rows):
    inputs = batch(8)
    seen = set()
    for seed in range(40):
        choice = choose(inputs, 1, fraction, generator(seed))
        assert len(choice.inputs["input_ids"]) == rows == len(choice.rows)
        assert choice.share == rows / 8
        first = choice.inputs["input_ids"][:, 0]
        assert torch.equal(first, first.sort().values)
        seen |= set(first.tolist())
    assert seen == set(range(0, 24, 3))


def test_pairs_stay_together():
    ids = torch.arange(8)[:, None].expand(-1, 2)
    inputs = {"input_ids": ids, "ref_chosen_logps": torch.arange(4.0), "beta": torch.tensor(0.1)}
    for seed in range(10):
        choice = choose(inputs, 2, 0.5, generator(seed))
        chosen, rejected = choice.inputs["input_ids"][:, 0].chunk(2)
        assert torch.equal(rejected, chosen + 4)
        assert torch.equal(choice.inputs["ref_chosen_logps"], chosen.float())
        assert choice.rows.tolist() == [0, 1, 2, 3]
        assert choice.inputs["beta"] == inputs["beta"]


def grouped():
    prompts = torch.tensor([[1, 2], [3, 4], [1, 2], [3, 4], [1, 2], [5, 6]])
    advantages = torch.tensor([1.0, 0.0, -1.0, 0.0, 0.0, 0.0])
    count = torch.tensor(60.0)
    return {"prompt_ids": prompts, "advantages": advantages, "num_items_in_batch": count}


def test_a_group_enters_whole_and_only_rows_with_an_advantage_are_penalised():
    for seed in range(10):
        choice = choose(grouped(), 1, 0.2, generator(seed))
        assert choice.inputs["prompt_ids"].tolist() == [[1, 2]] * 3
        assert choice.inputs["advantages"].tolist() == [1.0, -1.0, 0.0]
        assert choice.rows.tolist() in ([0], [1])
        assert choice.inputs["num_items_in_batch"] == 30


def test_without_advantages_there_is_nothing_to_draw():
    inputs = grouped() | {"advantages": torch.zeros(6)}
    assert choose(inputs, 1, 1.0, generator()) is None


def collated(examples, **settings):
    return DataCollatorForLanguageModeling(pad_token_id=0, **settings)(examples)


def test_a_packed_row_is_taken_apart_into_what_padding_gives():
    answers = ([-100, 4, 5], [-100, 7], [-100, -100, 9, 10, 11], [12, 13, 14])
    examples = [
        {"input_ids": [3, 4, 5], "labels": answers[0]},
        {"input_ids": [6, 7], "labels": answers[1]},
        {"input_ids": [8, 8, 9, 10, 11], "labels": answers[2]},
        {"input_ids": [12, 13, 14], "labels": answers[3]},
    ]
    padded = collated(examples)
    padded["labels"][1] = torch.tensor([6, 7, -100, -100, -100])
    padded["labels"][0, 0] = 3  # a prompt of one token cannot be told from a masked first label
    for filling in (None, 16):
        packed = collated(examples, padding_free=True, pad_to_multiple_of=filling)
        apart = unpacked(packed)
        assert apart.keys() == padded.keys()
        assert all(torch.equal(apart[name], padded[name]) for name in padded)


@pytest.mark.parametrize("filling", [None, 32])
def test_of_a_packed_row_a_share_of_its_sequences_is_drawn_and_no_filling(filling):
    examples = [{"input_ids": [10 + i] * (2 + i)} for i in range(4)]
    packed = collated(examples, padding_free=True, pad_to_multiple_of=filling)
    seen = set()
    for seed in range(20):
        choice = choose(packed, 1, 0.25, generator(seed))
        assert choice.share == 0.25
        (ids,) = choice.inputs["input_ids"].tolist()
        assert choice.inputs["attention_mask"].tolist() == [[1] * len(ids)]
        seen.add(tuple(ids))
    assert seen == {tuple(example["input_ids"]) for example in examples}


def test_samples_without_an_answer_are_not_drawn():
    inputs = {"input_ids": torch.arange(12).reshape(4, 3), "labels": torch.full((4, 3), -100)}
    inputs["labels"][:, 0] = 1  # nothing comes before it
    inputs["labels"][2, 1] = 7
    for seed in range(10):
        assert choose(inputs, 1, 0.25, generator(seed)).inputs["input_ids"].tolist() == [[6, 7, 8]]


def test_images_are_refused():
    with pytest.raises(ValueError, match="only text can be penalised"):
        choose(batch(2) | {"pixel_values": torch.zeros(2)}, 1, 1.0, generator())


IDS = torch.tensor([[0, 4, 5, 6], [3, 4, 7, 8]])
LABELS = torch.tensor([[-100, -100, 5, 6], [-100, -100, -100, 8]])
CALL = {"input_ids": IDS, "labels": LABELS, "attention_mask": (IDS > 0).long()}


def test_the_prompt_is_the_attackers_and_padding_nobodys():
    where = attacked(CALL, "prompt", {})
    assert where.mask.int().tolist() == [[0, 1, 0, 0], [1, 1, 1, 0]]
    assert where.scored.int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 0]]
    assert attacked(CALL, "all", {}).mask.int().tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]


def test_tools_and_functions_say_which_tokens_move():
    tools = {"tool_mask": torch.tensor([[1, 0], [1, 1]])}
    where = attacked(CALL, "tools", tools)
    assert where.mask.int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert where.scored.int().tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert attacked(CALL, "prompt", tools).mask.int().tolist() == [[0, 1, 0, 1], [1, 1, 1, 0]]
    mine = attacked(CALL, lambda call: call["input_ids"] == 4, {})
    assert mine.mask.int().tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]
    with pytest.raises(ValueError, match="attacker='tools' but the batch has no tool_mask"):
        attacked(CALL, "tools", {})
    with pytest.raises(ValueError, match=r"attacker returned \(2,\); give a mask \[rows, tokens\]"):
        attacked(CALL, lambda call: torch.ones(2), {})
    with pytest.raises(ValueError, match="without input_ids"):
        attacked({}, "all", {})


def test_of_pairs_that_a_reward_model_compares_the_common_prefix_is_the_prompt():
    ids = torch.tensor([[3, 4, 5, 9], [3, 4, 6, 0]])
    where = attacked({"input_ids": ids}, "prompt", {}, padding=0)
    assert where.mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert where.scored.int().tolist() == [[0, 0, 0, 1], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, "weight=-1.0 is not allowed"),
        ({"weight": float("nan")}, "weight=nan is not allowed"),
        ({"method": "jacobi"}, "method='jacobi' is unknown; choose one of 'aajr', 'random"),
        ({"metric": "kl"}, "metric='kl' is unknown"),
        ({"attacker": "user"}, "attacker='user' is unknown; choose one of 'prompt', 'tools'"),
        ({"fraction": 0.0}, "fraction=0.0 is not allowed"),
        ({"fraction": 1.5}, "fraction=1.5 is not allowed"),
        ({"interval": 0}, "interval=0 is not allowed"),
        ({"step": 0.0}, "step=0.0 is not allowed"),
        ({"radius": float("inf")}, "radius=inf is not allowed"),
        ({"layer": -1}, "layer=-1 is not allowed"),
        ({"sketch": 8}, "sketch=8 needs metric='hidden'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Robustness(**{"weight": 1.0, **settings})


@given(
    total=st.integers(1, 60),
    interval=st.integers(1, 60),
    warmup=st.floats(0, 1, exclude_max=True),
)
@example(total=12, interval=12, warmup=0.1)
@example(total=1, interval=12, warmup=0.1)
def test_no_training_is_too_short_to_be_penalised(total, interval, warmup):
    settings = Robustness(weight=1.0, interval=interval, warmup=warmup)
    used = settings.interval_at(total)
    assert used == interval if interval < total else used <= total
    assert any(settings.weight_at(step, total) > 0 for step in range(0, total, used))
    assert settings.weight_at(total, total) == 1.0


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("total", range(1, 41))
def test_a_short_training_is_penalised_once(total, warmup):
    settings = Robustness(weight=1.0, interval=40, warmup=warmup)
    steps = range(0, total, settings.interval_at(total))
    penalised = [step for step in steps if settings.weight_at(step, total) > 0]
    warms_up = settings.weight_at(0, total) == 0
    assert penalised == [(total + 1) // 2 if warms_up else 0]


def test_other_trainers_are_refused():
    from transformers import Trainer

    class SFTTrainer(Trainer):
        """A class that only has a supported name."""

    for kind in (Trainer, SFTTrainer):
        with pytest.raises(TypeError, match="is not supported; robustify takes SFTTrainer"):
            robustify(kind)

    class Mine(hosts.SFTTrainer):
        pass

    assert robustify(Mine).__name__ == "RobustMine"


def test_models_that_cannot_be_moved_are_refused():
    with pytest.raises(ValueError, match="Linear has no get_input_embeddings"):
        take_apart(torch.nn.Linear(2, 2))
    network = hosts.model()
    network.config.is_encoder_decoder = True
    with pytest.raises(ValueError, match="is an encoder-decoder"):
        take_apart(network)


def test_a_layer_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="layer=3 but the model has layers 0 to 2"):
        hosts.trainer("sft", tmp_path, Robustness(weight=1.0, layer=3))


def refuse(trained):
    check_host(trained, take_apart(trained.model), Robustness(weight=1.0))


REENTRANT = {
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": True},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"torch_compile": True}, "torch_compile=True .* set torch_compile=False"),
        ({"use_liger_kernel": True}, "use_liger_kernel=True hides"),
        (REENTRANT, "use_reentrant=True cuts .* set activation_checkpointing_kwargs"),
        (
            REENTRANT | {"activation_checkpointing_kwargs": {"preserve_rng_state": False}},
            "use_reentrant=True cuts",
        ),
    ],
)
def test_passes_in_which_nothing_can_be_moved_are_refused(changes, message, tmp_path):
    trained = hosts.trainer("sft", tmp_path, None)
    for name, value in changes.items():
        setattr(trained.args, name, value)
    with pytest.raises(ValueError, match=message):
        refuse(trained)


def test_checkpointing_that_is_not_reentrant_is_accepted(tmp_path):
    trained = hosts.trainer("sft", tmp_path, None)
    trained.args.activation_checkpointing = True
    for kwargs in (None, {}, {"use_reentrant": False}, {"every_n_layers": 2}):
        trained.args.activation_checkpointing_kwargs = kwargs
        refuse(trained)


def test_a_model_that_comes_with_reentrant_checkpointing_is_refused(tmp_path):
    trained = hosts.trainer("sft", tmp_path, None)
    trained.model.activation_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ValueError, match="use_reentrant=True cuts"):
        refuse(trained)
    trained.model.activation_checkpointing_enable()
    refuse(trained)


def test_compilation_by_accelerates_configuration_is_refused(tmp_path, monkeypatch):
    trained = hosts.trainer("sft", tmp_path, None)
    plugin = trained.accelerator.state.dynamo_plugin
    monkeypatch.setattr(plugin, "backend", DynamoBackend.INDUCTOR)
    with pytest.raises(ValueError, match="or a compiled model"):
        refuse(trained)


def test_images_are_refused_before_the_training(tmp_path):
    trained = hosts.trainer("sft", tmp_path, None)
    trained.train_dataset = trained.train_dataset.add_column("images", [[]] * 24)
    with pytest.raises(ValueError, match=r"the data hold images \(images\)"):
        refuse(trained)


class Coarse(torch.nn.Linear):
    """Like a layer of QLoRA: float32 in, bfloat16 inside, float32 out."""

    def forward(self, x):
        product = torch.nn.functional.linear(x.bfloat16(), self.weight.bfloat16())
        return product.to(x.dtype)


def coarse(network):
    network.model.layers[1].mlp.down_proj.__class__ = Coarse
    return network


@pytest.mark.parametrize("make", [lambda net: net.to(torch.bfloat16), coarse])
def test_steps_below_the_resolution_of_the_arithmetic_are_refused(make, tmp_path):
    network = make(hosts.model())
    message = r"step=0.0001 is below the resolution .* torch.bfloat16.* load weights in float32"
    with pytest.raises(ValueError, match=message):
        hosts.trainer("sft", tmp_path, Robustness(weight=1.0), network=network)
    near = Robustness(weight=1.0, method="smart", radius=1e-3)
    with pytest.raises(ValueError, match=r"radius=0.001 is below the resolution"):
        hosts.trainer("sft", tmp_path, near, network=network)
    for settings in (
        Robustness(weight=1.0, step=0.03),
        Robustness(weight=1.0, method="r3f"),
        Robustness(weight=0.0),
    ):
        hosts.trainer("sft", tmp_path, settings, network=network)


def test_the_precision_of_the_passes_is_seen_without_a_trace():
    network = hosts.model(attention_dropout=0.5).train()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert precision(take_apart(network)) == torch.float32
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())
    assert precision(take_apart(hosts.in_float64(hosts.model()))) == torch.float32
    sharded = hosts.model().half()
    sharded.model.layers[0].mlp.down_proj.weight.data = torch.empty(0, dtype=torch.half)
    assert precision(take_apart(sharded)) == torch.float16


def test_a_mask_that_selects_nothing_is_reported_and_costs_nothing(tmp_path):
    nobody = Robustness(
        weight=1.0, interval=1, warmup=0.0, attacker=lambda call: call["input_ids"] < 0
    )
    host = hosts.trainer("sft", tmp_path, None, max_steps=1)
    host.train()
    trained = hosts.trainer("sft", tmp_path, nobody, max_steps=1)
    with pytest.warns(UserWarning, match="the attacker's mask selects no token"):
        trained.train()
    first, second = hosts.parameters(host), hosts.parameters(trained)
    assert all(torch.equal(first[name], second[name]) for name in first)
