"""Preference training (DPO) of one small model on one set of pairs: ours beside TRL's `DPOTrainer` and a bare loop.

6.3 million parameters, prompts of 128 tokens, answers of 64, batches of 8 pairs, AdamW, float32. Ours goes through shards, data
module and Lightning's `fit`, with its cached reference; TRL runs plain (a second network) and with precomputed references; the
bare loop is forward, loss, backward and step on ready-made tensors with known references, and nothing else. With images TRL
cannot precompute, so ours cached runs beside its uncached run. A figure is pairs per second between the end of the first step
and the end of the last; making a cache is not in it. Before anything is timed the first loss, log 2, and log-probabilities are
compared.

    python benchmarks/run.py preference
    python benchmarks/preference.py --rounds 1 --steps 3      # a try
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _harness import OURS, compare, in_own_process, peak_extra_bytes, warn_if_busy, write_rows
from _pairs import (
    ANSWER_TOKENS,
    MODEL,
    PHOTO_SIZE,
    PROMPT_TOKENS,
    SPECIAL,
    TEMPLATE,
    VOCAB,
    backbone,
    make_pairs,
    save_shards,
    text_model,
    tokenizer,
)

BATCH_SIZE, BETA, LEARNING_RATE = 8, 0.1, 1e-5
TRL, CACHED, BARE = "trl", "trl, precomputed references", "a bare loop"


class Watch:
    """Time from the end of the first step to the end of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def step(self) -> None:
        """A step is over."""
        self.ends.append(time.perf_counter())

    @property
    def pairs_per_second(self) -> float:
        """Between the first end and the last."""
        return BATCH_SIZE * (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])


def ours(steps: int, images: bool, work: Path) -> Watch:
    """Shards, data module, cached reference, Lightning's trainer."""
    import lightning as L
    import torch

    from moon_zoo.data.datamodule import ShardDataModule
    from moon_zoo.models.dream.module import Dream
    from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

    class Steps(L.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            watch.step()

    watch = Watch()
    module = Dream(
        backbone_options=MODEL,
        photo_size=PHOTO_SIZE,
        vocab_size=VOCAB,
        max_prompt_tokens=PROMPT_TOKENS,
        max_answer_tokens=ANSWER_TOKENS,
        stage="preference",
        beta=BETA,
        reference="cache",
        reference_cache=str(work / f"reference-{images}"),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=LEARNING_RATE),
        lr_schedule="constant",
    )
    module.inputs.load_state_dict({"tokenizer": MultimodalTokenizer(tokenizer()).state_dict()})
    module.network.backbone.lm.load_state_dict(backbone().lm.state_dict())
    module.train()
    data = ShardDataModule(train=str(work / f"pairs-{images}"), batch_size=BATCH_SIZE, num_workers=1)
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
        default_root_dir=str(work),
    )
    trainer.fit(module, data)
    return watch


def trl(steps: int, images: bool, work: Path, *, precompute: bool = False) -> Watch:
    """Its trainer, over its own preparation of the same pairs."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class Steps(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            watch.step()

    watch = Watch()
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(), pad_token=SPECIAL[0], eos_token=SPECIAL[2], chat_template=TEMPLATE
    )
    pairs = make_pairs(BATCH_SIZE * steps, images=images)
    arguments = DPOConfig(
        output_dir=str(work / "trl"),
        per_device_train_batch_size=BATCH_SIZE,
        max_steps=steps,
        beta=BETA,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        precompute_ref_log_probs=precompute,
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=10,
        disable_tqdm=True,
    )
    if images:
        model, second, processing = backbone().lm, backbone().lm, _processor(words)
        rows = [
            {
                "images": [_image(pair.image)],
                "prompt": [{"role": "user", "content": pair.question}],
                "chosen": [{"role": "assistant", "content": pair.chosen}],
                "rejected": [{"role": "assistant", "content": pair.rejected}],
            }
            for pair in pairs
        ]
    else:
        model, second, processing = text_model(), None if precompute else text_model(), words
        rows = [
            {
                "prompt": f"<|im_start|> user {pair.question} <|im_end|> <|im_start|> assistant",
                "chosen": f" {pair.chosen} <|im_end|>",
                "rejected": f" {pair.rejected} <|im_end|>",
            }
            for pair in pairs
        ]
    trainer = DPOTrainer(
        model=model,
        ref_model=second,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=processing,
        callbacks=[Steps()],
    )
    trainer.train()
    return watch


def bare(steps: int, images: bool, work: Path) -> Watch:
    """Forward, loss, backward, step; references known, tensors ready."""
    import torch
    import torch.nn.functional as F

    model = text_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    chosen = torch.randint(10, VOCAB, (BATCH_SIZE * steps, ANSWER_TOKENS))
    rejected = torch.randint(10, VOCAB, (BATCH_SIZE * steps, ANSWER_TOKENS))
    prompts = torch.randint(10, VOCAB, (BATCH_SIZE * steps, PROMPT_TOKENS))
    known = torch.zeros(2 * BATCH_SIZE)
    watch = Watch()
    for step in range(steps):
        rows = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
        answers = torch.cat([chosen[rows], rejected[rows]])
        ids = torch.cat([prompts[rows].repeat(2, 1), answers], dim=1)
        logits = model(input_ids=ids, logits_to_keep=ANSWER_TOKENS + 1, use_cache=False).logits[:, :-1]
        each = logits.log_softmax(-1).gather(2, answers[..., None]).squeeze(2).sum(1) - known
        loss = -F.logsigmoid(BETA * (each[:BATCH_SIZE] - each[BATCH_SIZE:])).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    return watch


def _load_all() -> None:
    """Import what any contender needs, so that no peak holds the libraries."""
    import datasets  # noqa: F401
    import lightning  # noqa: F401
    import trl  # noqa: F401
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2ForCausalLM  # noqa: F401
    from trl import DPOTrainer  # noqa: F401

    import moon_zoo.models.dream.module  # noqa: F401


def check_equal() -> None:
    """One model for everybody: the log-probabilities of an answer are the same in ours and in the peers' form of it."""
    import torch

    from moon_zoo.nn.multimodal.completions import completion_log_probabilities
    from moon_zoo.nn.multimodal.sequence import Sequence

    ids = torch.randint(10, VOCAB, (3, PROMPT_TOKENS + ANSWER_TOKENS), generator=torch.Generator().manual_seed(0))
    prompt, answer = ids[:, :PROMPT_TOKENS], ids[:, PROMPT_TOKENS:]
    there = torch.ones_like(prompt).bool()
    nothing = torch.zeros((3, 0, 3, PHOTO_SIZE, PHOTO_SIZE), dtype=torch.uint8), torch.zeros((3, 0), dtype=torch.bool)
    with torch.no_grad():
        logits = text_model().eval()(input_ids=ids).logits[:, PROMPT_TOKENS - 1 : -1].log_softmax(-1)
        theirs = logits.gather(2, answer[..., None]).squeeze(2).sum(1)
        sequence = Sequence(prompt, there, there.long() * 2, *nothing)
        found = completion_log_probabilities(
            backbone().eval(), sequence, answer[:, None], torch.ones(3, 1, ANSWER_TOKENS).bool()
        )
    torch.testing.assert_close(found[:, 0], theirs, rtol=1e-5, atol=1e-3)


def _image(encoded: bytes | None) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(encoded or b"")).convert("RGB")


def _processor(words: Any) -> Any:
    """transformers' processor of Qwen2.5-VL at our image size."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    area = PHOTO_SIZE * PHOTO_SIZE
    sizes = {"size": {"shortest_edge": area, "longest_edge": area}, "patch_size": 8, "merge_size": 2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes, temporal_patch_size=2),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(**sizes, temporal_patch_size=2),
        chat_template=TEMPLATE,
    )


CASES: dict[str, dict[str, Callable[[int, bool, Path], Watch]]] = {
    "text": {
        OURS: ours,
        TRL: trl,
        CACHED: lambda steps, images, work: trl(steps, images, work, precompute=True),
        BARE: bare,
    },
    "images": {OURS: ours, TRL: trl},
}
TARGETS = {"text": {CACHED: ">= 2", BARE: ">= 0.85"}, "images": {}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15, help="of a run; the first is not timed")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "WHO"), help="only this one's peak, on the last line")
    parser.add_argument("--work", help="folder of the pairs and of our cache, with --memory")
    parser.add_argument("--no-write", action="store_true", help="show figures without keeping them")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.memory:
        case, who = options.memory
        steps = min(options.steps, 4)
        _load_all()
        print(peak_extra_bytes(lambda: CASES[case][who](steps, case == "images", Path(options.work))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for images in (False, True):
            save_shards(make_pairs(BATCH_SIZE * options.steps, images=images), work / f"pairs-{images}")
        warn_if_busy()
        check_equal()
        results = []
        for case, contenders in CASES.items():
            images = case == "images"
            speeds: dict[str, list[float]] = {name: [] for name in contenders}
            for number in range(options.rounds):
                names = list(contenders)
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    speeds[name].append(contenders[name](options.steps, images, work).pairs_per_second)
            about = (
                f"DPO on {case}, 6.3M parameters, {PROMPT_TOKENS} + {ANSWER_TOKENS} tokens, {BATCH_SIZE} pairs a step"
            )
            results += compare(
                f"{about}: speed",
                speeds,
                unit="pairs/s",
                ratio_of="ours / peer",
                targets=TARGETS[case],
                packages=("trl", "transformers"),
            )
            own = ("--steps", str(options.steps), "--work", folder)  # what is there already is no part of a peak
            peaks = {
                name: [int(in_own_process(__file__, "--memory", case, name, *own)) / 1e6 for _ in range(options.rounds)]
                for name in contenders
            }
            results += compare(
                f"{about}: peak extra memory",
                peaks,
                unit="MB",
                ratio_of="ours / peer",
                targets={name: "<= 0.7" for name in contenders if name in (TRL, CACHED)},
                packages=("trl", "transformers"),
            )
    if options.no_write:
        for row in results:
            print(row.case, row.peer, row.median, row.unit, row.ratio, flush=True)
    else:
        write_rows("preference", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
