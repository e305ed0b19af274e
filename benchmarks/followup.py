"""Training one small model to ask follow-ups on one set: ours beside transformers' `Seq2SeqTrainer`.

A decoder of a million parameters (that of the recipe followup/quickstart) and an encoder-decoder of the same size, batches of
32, AdamW, float32; the shop's follow-ups, which are all about as long, and the same with answers of 5 to 150 words, as people
write them. Ours goes through shards, data module and Lightning's `fit`, with batches in groups of like length; the peer pads
each batch to its longest, as its collator does. A figure is real tokens (pads not counted) per second between the end of the
first step and the end of the last. Before anything is timed both losses of one batch are compared, and after it what both
models have learnt.

    python benchmarks/run.py followup
    python benchmarks/followup.py --rounds 1 --steps 3 --no-write      # a try
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from _harness import OURS, compare, warn_if_busy, write_rows

BATCH_SIZE, LEARNING_RATE, GROUPS = 32, 1e-3, 4
MAX_TOKENS, MAX_WRITTEN, VOCAB = 256, 40, 1536
TRAINER = "transformers Seq2SeqTrainer"
ARCHITECTURES = ("causal", "seq2seq")
HELD_OUT = 128


class Watch:
    """Time from the end of the first step to the end of the last; and the loss of held-out samples afterwards."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.loss = math.nan

    def step(self) -> None:
        """A step is over."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Between the first end and the last."""
        return self.ends[-1] - self.ends[0]


def samples(count: int, varied: bool) -> list[Any]:
    """Follow-ups of the shop; ``varied`` gives them answers of 5 to 150 words."""
    from moon_zoo.shop.follow_ups.plan import FollowUpPlan

    plan = FollowUpPlan(count, 0, (("train", 1.0),))
    found = [sample for _, _, sample in plan.samples()]
    if not varied:
        return found
    draws = random.Random(0)
    words = [word for sample in found for word in sample.answer.split()]
    return [replace(one, answer=" ".join(draws.choices(words, k=_length(draws)))) for one in found]


def _length(draws: random.Random) -> int:
    return min(max(round(math.exp(draws.gauss(3.4, 0.8))), 5), 150)


def module_of(architecture: str) -> Any:
    """Ours, as it starts; the peer trains a copy of its language model."""
    import torch

    from moon_zoo.models.followup.module import Followup

    torch.manual_seed(0)
    module = Followup(
        architecture=architecture,  # type: ignore[arg-type]
        vocab_size=VOCAB,
        max_tokens=MAX_TOKENS,
        max_follow_up_tokens=MAX_WRITTEN,
        length_groups=GROUPS,
        generation_samples=0,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=LEARNING_RATE),
        lr_schedule="constant",
    )
    module.inputs.fit(iter(samples(500, False)), None)
    return module.train()


def rows_of(module: Any, made: Sequence[Any]) -> list[dict[str, list[int]]]:
    """What the peer is given: the very ids that ours makes."""
    from moon_zoo.data.inputs import Draw

    rows = []
    for sample in made:
        batch = module.inputs.batch([module.inputs.sample(sample, Draw(training=True))])
        ids, labels = batch["token_ids"][0][batch["token_mask"][0]], batch["labels"][0]
        labels = labels[labels != -100] if module.inputs.seq2seq else labels[batch["token_mask"][0]]
        rows.append({"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "labels": labels.tolist()})
    return rows


def ours(module: Any, shards: Path, steps: int) -> Watch:
    """Shards, data module, Lightning's trainer."""
    import lightning as L

    from moon_zoo.data.datamodule import ShardDataModule

    class Steps(L.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            watch.step()

    watch = Watch()
    trainer = L.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[Steps()],
        use_distributed_sampler=False,
        default_root_dir=str(shards),
    )
    trainer.fit(module, ShardDataModule(train=str(shards), batch_size=BATCH_SIZE, num_workers=0))
    return watch


def theirs(module: Any, rows: Sequence[dict[str, list[int]]], steps: int, work: Path) -> Watch:
    """Its trainer and collator, over ids that are ready."""
    from transformers import (
        DataCollatorForSeq2Seq,
        PreTrainedTokenizerFast,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        TrainerCallback,
    )

    class Steps(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            watch.step()

    watch = Watch()
    words = PreTrainedTokenizerFast(
        tokenizer_object=module.inputs.tokenizer._tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(work / "trainer"),
        per_device_train_batch_size=BATCH_SIZE,
        max_steps=steps,
        learning_rate=LEARNING_RATE,
        weight_decay=0.01,  # torch's own default, which ours has
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=10,
        disable_tqdm=True,
    )
    trainer = Seq2SeqTrainer(
        model=module.network.lm,
        args=arguments,
        train_dataset=list(rows),  # type: ignore[arg-type]
        data_collator=DataCollatorForSeq2Seq(words, padding=True, label_pad_token_id=-100),
        callbacks=[Steps()],
    )
    trainer.train()
    return watch


def loss_of(module: Any, held_out: Sequence[Any]) -> float:
    """Mean over the tokens of held-out follow-ups."""
    import torch

    from moon_zoo.data.inputs import Draw

    module.eval()
    batch = module.inputs.batch([module.inputs.sample(sample, Draw(training=True)) for sample in held_out])
    with torch.no_grad():
        return float(module(batch)[0])


def check_equal(module: Any, made: Sequence[Any]) -> None:
    """One batch has one loss: ours in groups, and the library's own of the padded whole."""
    import torch

    from moon_zoo.data.inputs import Draw

    batch = module.inputs.batch([module.inputs.sample(sample, Draw(training=True)) for sample in made])
    labels = batch["labels"]
    with torch.no_grad():
        own = module(batch)[0]
        found = module.network.lm(
            input_ids=batch["token_ids"], attention_mask=batch["token_mask"].long(), labels=labels
        ).loss
    torch.testing.assert_close(own, found, rtol=1e-4, atol=1e-4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of a run; the first is not timed")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="only this one")
    parser.add_argument("--no-write", action="store_true", help="show figures without keeping them")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warn_if_busy()
    from moon_zoo.data.writing import ShardWriter

    results = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in (options.architecture,) if options.architecture else ARCHITECTURES:
            for varied in (False, True):
                made = samples(BATCH_SIZE * options.steps + HELD_OUT, varied)
                made, held_out = made[:-HELD_OUT], made[-HELD_OUT:]
                work = Path(folder) / f"{architecture}-{varied}"
                with ShardWriter(work, kind="follow_up", source="the shop", licence="CC0-1.0") as writer:
                    for sample in made:
                        writer.write(sample.conversation_id, sample)
                rows = rows_of(module_of(architecture), made)
                check_equal(module_of(architecture).eval(), made[:BATCH_SIZE])
                tokens = sum(len(row["input_ids"]) for row in rows)
                if architecture == "seq2seq":
                    tokens += sum(len(row["labels"]) for row in rows)
                tokens *= (options.steps - 1) / options.steps  # the first step is not timed
                speeds: dict[str, list[float]] = {OURS: [], TRAINER: []}
                losses: dict[str, list[float]] = {OURS: [], TRAINER: []}
                for number in range(options.rounds):
                    names = [OURS, TRAINER] if number % 2 == 0 else [TRAINER, OURS]
                    for name in names:
                        module = module_of(architecture)
                        watch = (
                            ours(module, work, options.steps)
                            if name == OURS
                            else theirs(module, rows, options.steps, work)
                        )
                        speeds[name].append(tokens / watch.seconds)
                        losses[name].append(loss_of(module, held_out))
                lengths = "answers of 5 to 150 words" if varied else "the shop's answers"
                about = f"{architecture}, {BATCH_SIZE} follow-ups a step, {lengths}"
                results += compare(
                    f"{about}: speed",
                    speeds,
                    unit="tokens/s",
                    ratio_of="ours / peer",
                    targets={TRAINER: ">= 1.2"},
                    packages=("transformers",),
                )
                results += compare(
                    f"{about}: held-out loss after {options.steps} steps",
                    losses,
                    unit="nats",
                    ratio_of="ours / peer",
                    targets={TRAINER: "<= 1.05"},
                    packages=("transformers",),
                )
    if options.no_write:
        for row in results:
            print(row.case, row.peer, row.median, row.unit, row.ratio, flush=True)
    else:
        write_rows("followup", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
