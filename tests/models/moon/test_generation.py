"""The loss of answers, and a model that writes them: before and after it gets experts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from moon_zoo.data.kinds import Product
from moon_zoo.errors import RecipeError
from moon_zoo.models.moon.generation import (
    PREDICTED,
    GenerationInputs,
    generate,
    generation_loss,
    predicted_columns,
    sequence_of,
)
from moon_zoo.models.moon.generation_evaluation import GenerationEvaluation
from moon_zoo.models.moon.tasks import TASKS, read_attributes, read_box, read_category
from moon_zoo.nn.moe.install import install, moe_modules, plain_state_dict
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.chat import IGNORED
from tests.conftest import make_product
from tests.models.moon import generation_ranks
from tests.models.moon.writer import make_backbone, make_batch, make_inputs, shared_folder, trained, unseen
from tests.ranks import run_two


@pytest.fixture(scope="module")
def inputs() -> GenerationInputs:
    return make_inputs("attributes", "main_subject", predict_tasks=("attributes", "main_subject"))


@pytest.fixture(scope="module")
def writer(inputs: GenerationInputs, tmp_path_factory: pytest.TempPathFactory) -> MultimodalLM:
    """A trained model; must not be changed."""
    return trained(inputs, shared_folder(tmp_path_factory))


def twin(writer: MultimodalLM, inputs: GenerationInputs) -> MultimodalLM:
    """A copy that may be changed."""
    copy = make_backbone(inputs)
    copy.load_state_dict(writer.state_dict())
    return copy.eval()


# The loss


def by_hand(backbone: MultimodalLM, batch: dict[str, Tensor]) -> tuple[float, float, int]:
    """Loss, accuracy and tokens, row by row and place by place, over all logits."""
    with torch.no_grad():
        logits = backbone.logits(backbone(sequence_of(batch), "causal")).double()
    length, answer = logits.shape[1], batch["generation_labels"].shape[1]
    losses, right = [], []
    for row in range(len(logits)):
        for place in range(answer):
            label = int(batch["generation_labels"][row, place])
            if label != IGNORED and bool(batch["valid"][row]):
                scores = logits[row, length - answer + place - 1]
                losses.append(float(scores.logsumexp(0) - scores[label]))
                right.append(int(scores.argmax()) == label)
    return sum(losses) / len(losses), sum(right) / len(right), len(losses)


def test_the_loss_is_the_mean_over_all_answers_tokens(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    batch = make_batch(inputs, range(9))
    batch["valid"][3] = False
    loss, figures = generation_loss(writer, batch)
    expected, accuracy, tokens = by_hand(writer, batch)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(figures["generation/loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(figures["generation/token_accuracy"]) == pytest.approx(accuracy)
    assert int(figures["generation/tokens"]) == tokens


def test_a_batch_without_answers_costs_nothing_and_has_a_gradient(inputs: GenerationInputs) -> None:
    backbone = make_backbone(inputs)
    batch = make_batch(inputs, range(3))
    batch["valid"][:] = False
    loss, figures = generation_loss(backbone, batch)
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(figures["generation/tokens"]) == 0
    gradients = [weight.grad for weight in backbone.parameters() if weight.grad is not None]
    assert gradients and all(bool((gradient == 0).all()) for gradient in gradients)


def test_two_processes_give_the_loss_the_gradients_and_the_figures_of_one(tmp_path: Path) -> None:
    run_two("tests.models.moon.generation_ranks", tmp_path)
    ranks = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in range(2)]
    whole = generation_ranks.run(generation_ranks.ROWS)
    assert set(ranks[0]) == set(ranks[1]) == set(whole)
    for name, expected in whole.items():
        averaged = name == "loss" or name.startswith("gradient/")  # as DDP averages
        found = [(ranks[0][name] + ranks[1][name]) / 2] if averaged else [rank[name] for rank in ranks]
        for value in found:
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


# Writing


def test_a_trained_model_names_colours_that_only_photos_show(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    products = [Product("x", photos=product.photos, attributes=product.attributes) for product in unseen(18)]
    answers = generate(writer, inputs, products, "attributes", max_new_tokens=24)
    colours = [read_attributes(answer).get("colour") for answer in answers]
    right = sum(colour == product.attributes["colour"] for colour, product in zip(colours, products, strict=True))
    assert right >= 14, answers  # a guess is right in 6 of 18


def test_a_trained_model_finds_the_main_subject(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    products = unseen(6)
    answers = generate(writer, inputs, products, "main_subject", max_new_tokens=40)
    assert [read_category(answer) for answer in answers] == [product.category[-1] for product in products]
    assert sum(read_box(answer) is not None for answer in answers) >= 5, answers


def test_answers_do_not_depend_on_who_else_is_asked(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    products = [*unseen(4), Product("bare", title="red mug")]
    together = generate(writer, inputs, products, "attributes", max_new_tokens=12)
    alone = generate(writer, inputs, products, "attributes", max_new_tokens=12, batch_size=1)
    assert together == alone


def test_draws_follow_the_seed(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    def drawn(seed: int) -> list[str]:
        return generate(writer, inputs, unseen(6), "attributes", max_new_tokens=12, temperature=3.0, seed=seed)

    assert drawn(1) == drawn(1) != drawn(2)


def test_an_unknown_task_is_refused_by_name(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    with pytest.raises(RecipeError, match="did you mean: attributes"):
        generate(writer, inputs, unseen(1), "atributes")


def test_prediction_writes_what_generate_writes(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    batch = make_batch(inputs, range(5))
    columns = predicted_columns(writer, inputs, batch, max_new_tokens=16)
    assert list(columns) == ["generated_attributes", "generated_main_subject"]
    for task in inputs.predict_tasks:
        products = [make_product(number) for number in range(5)]
        assert columns[f"generated_{task}"] == generate(writer, inputs, products, task, max_new_tokens=16)
    assert set(PREDICTED) == set(TASKS)


# With experts


@pytest.mark.parametrize("guidance", ["hard", "additive", "none"])
def test_answers_stay_when_feed_forward_networks_become_experts(
    inputs: GenerationInputs, writer: MultimodalLM, guidance: str
) -> None:
    products = [*unseen(5), Product("bare", title="red mug", category=("home", "mug"), attributes={"colour": "red"})]
    model = twin(writer, inputs)
    install(model.layers, guidance=guidance, num_experts=4, top_k=2, noise=0.0)
    assert len(moe_modules(model)) == 2
    for task in ("attributes", "title"):
        before = generate(writer, inputs, products, task, max_new_tokens=12)
        assert generate(model, inputs, products, task, max_new_tokens=12) == before


def test_a_model_with_experts_still_learns_to_answer(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    model = twin(writer, inputs)
    install(model.layers, guidance="hard", num_experts=4, top_k=1, noise=0.01)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(8):
        loss, _ = generation_loss(model, make_batch(inputs, range(12), seed=500 + step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[4:]) < sum(losses[:4])
    answers = generate(model.eval(), inputs, unseen(6), "main_subject", max_new_tokens=40)
    assert [read_category(answer) for answer in answers] == [product.category[-1] for product in unseen(6)]


def test_the_plain_weights_of_a_model_with_experts_write_the_same(
    inputs: GenerationInputs, writer: MultimodalLM
) -> None:
    model = twin(writer, inputs)
    install(model.layers, guidance="hard", num_experts=4, noise=0.0)
    plain = make_backbone(inputs, seed=9)
    plain.load_state_dict(plain_state_dict(model))
    before = generate(writer, inputs, unseen(4), "attributes", max_new_tokens=12)
    assert generate(plain.eval(), inputs, unseen(4), "attributes", max_new_tokens=12) == before


# Evaluation


def test_evaluation_agrees_with_reading_the_answers_one_by_one(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    evaluation = GenerationEvaluation(samples=10, max_new_tokens=40)
    evaluation.start(generation_ranks.ATTRIBUTES, torch.device("cpu"))
    for rows in (range(8), range(8, 16)):
        evaluation.update(writer, inputs, make_batch(inputs, rows))
    figures = evaluation.compute()
    batch = make_batch(inputs, range(16))
    expected, accuracy, _ = by_hand(writer, batch)
    assert figures["generation/loss"] == pytest.approx(expected, rel=1e-4)
    assert figures["generation/token_accuracy"] == pytest.approx(accuracy)
    assert [example["index"] for example in evaluation.examples] == list(range(10))
    pairs = [
        (read_attributes(example["answer"]), read_attributes(example["right"]))
        for example in evaluation.examples
        if example["task"] == "attributes"
    ]
    hits = sum(right.get(name) == value for said, right in pairs for name, value in said.items())
    assert figures["generation/attributes/precision"] == pytest.approx(hits / sum(len(said) for said, _ in pairs))
    assert figures["generation/attributes/recall"] == pytest.approx(hits / sum(len(right) for _, right in pairs))
    assert figures["generation/attribute_accuracy/colour_chance"] == pytest.approx(1 / 3)
    assert "generation/title/token_f1" not in figures  # was never asked


def test_evaluation_of_the_loss_alone_writes_nothing(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    evaluation = GenerationEvaluation(samples=0)
    evaluation.start(generation_ranks.ATTRIBUTES, torch.device("cpu"))
    evaluation.update(writer, inputs, make_batch(inputs, range(4)))
    assert evaluation.examples == []
    assert set(evaluation.compute()) >= {"generation/loss", "generation/token_accuracy"}
    assert not any("f1" in name for name in evaluation.compute())


def test_a_streamed_set_is_answered_from_its_beginning(inputs: GenerationInputs, writer: MultimodalLM) -> None:
    evaluation = GenerationEvaluation(samples=5, max_new_tokens=3)
    evaluation.start(generation_ranks.ATTRIBUTES, torch.device("cpu"))
    for rows in (range(4), range(4, 8)):
        batch = make_batch(inputs, rows)
        batch["index"] = torch.full((4,), -1)
        evaluation.update(writer, inputs, batch)
    assert len(evaluation.examples) == 5
