"""Embedding checkpoints that a study makes: towers that differ in steps, negatives, data or modality.

Each is made by one `fit`; those that differ in steps are checkpoints of one run, as it went on. Learning rate and model are
the recipe's, so that a checkpoint is what its label says and nothing else was turned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_zoo.errors import UsageError
from moon_zoo.studies.material import Products, data_words
from moon_zoo.studies.steps import Step, words

AXES = ("steps", "negatives", "data", "modality")
"""What a study may vary; see `Making`."""

SECONDS_PER_SAMPLE = 1 / 400
"""Training of the quickstart's towers at 48 px on two cores."""

BATCH_SIZE = 64
IMAGE_SIZE = 48

OBJECTIVES = {"photo": "photo_to_photo", "text": "photo_to_text", "product": "photo_to_product"}
"""Modality to the objective that alone is trained."""


@dataclass(frozen=True, slots=True)
class Tower:
    """An embedding checkpoint.

    Args:
        name: What tables and plots call it.
        axis: What was varied to make it; ``given`` for a checkpoint of the user's.
        value: To what.
        checkpoint: Where it is, or will be.
        after: Steps that make it.
        seed: Of its training.
        run: The run's folder, of a tower that the study makes.
    """

    name: str
    axis: str
    value: float | str
    checkpoint: str
    after: tuple[str, ...] = ()
    seed: int = 0
    run: Path | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """What steps depend on, where no step of the study makes it."""
        return () if self.after else (self.checkpoint,)


@dataclass(frozen=True, slots=True)
class Making:
    """How towers are made.

    Args:
        folder: The study's.
        products: What they learn from.
        recipe: The recipe's name.
        values: Its plain values.
        settings: Further words of every fit.
        batch_size: Photos per step, where negatives are not varied; the others of a batch are the negatives.
        image_size: Side of photos in pixels; None for the recipe's.
    """

    folder: Path
    products: Products
    recipe: str
    values: Mapping[str, Any]
    settings: tuple[str, ...] = ()
    batch_size: int = BATCH_SIZE
    image_size: int | None = IMAGE_SIZE

    def by_steps(
        self, steps: Sequence[int], *, constant_rate: bool = False, seed: int = 0
    ) -> tuple[list[Step], list[Tower]]:
        """One run, and its checkpoints after so many steps.

        Args:
            steps: Rising.
            constant_rate: No decay of the learning rate, so that each checkpoint is the end of a run of its length.
            seed: Of the run.
        """
        every = _common_step(steps)
        keep = [
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {
                    "every_n_train_steps": every,
                    "save_top_k": -1,
                    "save_weights_only": True,
                    "filename": "{step}",
                },
            }
        ]
        further = ["--trainer.callbacks", json.dumps(keep)]
        if constant_rate:
            further += ["--model.lr_schedule", "constant"]
        name = f"steps-seed-{seed}" if constant_rate else "steps"
        fit, run = self._fit(name, max(steps), self.batch_size, further, seed)
        ending = f"-seed-{seed}" if constant_rate else ""
        towers = [
            Tower(
                f"steps-{step}{ending}",
                "steps",
                step,
                str(run / "checkpoints" / f"step={step}.ckpt"),
                (fit.name,),
                seed,
                run,
            )
            for step in sorted(steps)
        ]
        return [fit], towers

    def by_negatives(
        self, batch_sizes: Sequence[int], steps: int, *, seed: int = 0, name_seed: bool = False
    ) -> tuple[list[Step], list[Tower]]:
        """Runs of as many steps with batches of other sizes: a photo's negatives are the others of its batch."""
        return self._runs(
            "negatives",
            {size - 1: (steps, size, []) for size in batch_sizes},
            seed,
            f"-seed-{seed}" if name_seed else "",
        )

    def by_data(self, fractions: Sequence[float], steps: int, *, seed: int = 0) -> tuple[list[Step], list[Tower]]:
        """Runs of as many steps on the first shards of the training set alone.

        Raises:
            UsageError: The set has too few shards to be cut.
        """
        return self._runs(
            "data",
            {fraction: (steps, self.batch_size, self._part(fraction, steps)) for fraction in fractions},
            seed,
            "",
        )

    def by_modality(self, names: Sequence[str], steps: int, *, seed: int = 0) -> tuple[list[Step], list[Tower]]:
        """Runs that train one objective alone: photos with photos, or photos with titles."""
        given = dict.fromkeys((self.values.get("model") or {}).get("init_args", {}).get("objectives") or {}, 0.0)
        return self._runs(
            "modality",
            {
                name: (steps, self.batch_size, ["--model.objectives", json.dumps(given | {OBJECTIVES[name]: 1.0})])
                for name in names
            },
            seed,
            "",
        )

    def _runs(
        self, axis: str, variants: Mapping[Any, tuple[int, int, list[str]]], seed: int, ending: str
    ) -> tuple[list[Step], list[Tower]]:
        made, towers = [], []
        for value, (steps, batch_size, further) in variants.items():
            name = f"{axis}-{value}{ending}"
            fit, run = self._fit(name, steps, batch_size, further, seed)
            made.append(fit)
            towers.append(Tower(name, axis, value, str(run / "checkpoints" / "last.ckpt"), (fit.name,), seed, run))
        return made, towers

    def _fit(self, name: str, steps: int, batch_size: int, further: Sequence[str], seed: int) -> tuple[Step, Path]:
        run = self.folder / "towers" / name
        sets = {"train": self.products.train, "val": self.products.val, "test": self.products.test}
        command = (
            *words("fit", config=self.recipe),
            *data_words(self.values, sets),
            *words("", data__batch_size=batch_size, model__image_size=self.image_size)[1:],
            # a validation once, at the end: that of the last step, which is the checkpoint that is used
            *words("", trainer__max_steps=steps, trainer__max_epochs=-1, trainer__check_val_every_n_epoch=1_000_000)[
                1:
            ],
            *self.settings,
            *further,
            *words("", seed_everything=seed, run=run)[1:],
        )
        size = (self.image_size or 64) / IMAGE_SIZE
        seconds = 6 + steps * batch_size * SECONDS_PER_SAMPLE * size**2
        step = Step(
            f"towers/{name}/fit",
            command,
            writes=run,
            needs=self.products.after,
            reads=(json.dumps(self.values, sort_keys=True, default=str) + "\n", *self.products.reads),
            seconds=seconds,
        )
        return step, run

    def _part(self, fraction: float, steps: int) -> list[str]:
        """Options that read the first shards of the training set as plain tars."""
        from moon_zoo.studies.material import SHARD_ITEMS

        if self.products.after:
            shards = -(-self.products.num_train // SHARD_ITEMS)
            stem = "train"
        else:
            from moon_zoo.data.manifest import read_manifest

            entries = read_manifest(self.products.train).shards
            shards = len(entries)
            stem = entries[0].name.removesuffix("-000000.tar")
        kept = round(shards * fraction)
        if not 1 <= kept < shards:
            raise UsageError(
                f"{self.products.train} has {shards} shard{'s' * (shards != 1)}, of which {fraction:g} is none or all",
                where="--fractions",
                change="--fractions; or pack that set with a smaller --max-samples-per-shard",
            )
        tars = f"{self.products.train}/{stem}-{{000000..{kept - 1:06d}}}.tar"
        # all passes are one epoch, since every epoch of a stream begins with filling its buffer
        return ["--data.train", tars, "--data.streamed_length", str(steps * self.batch_size)]


def given(checkpoints: Sequence[str]) -> list[Tower]:
    """Checkpoints of the user's.

    Raises:
        UsageError: One is named twice.
    """
    towers = [Tower(_short(name), "given", name, name) for name in checkpoints]
    names = [tower.name for tower in towers]
    if len(set(names)) < len(names):
        towers = [
            Tower(tower.checkpoint.strip("/").replace("/", "-"), "given", tower.value, tower.checkpoint)
            for tower in towers
        ]
    twice = next((name for name in checkpoints if list(checkpoints).count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the checkpoint {twice} is named twice", where="--checkpoints", change="--checkpoints")
    return towers


def measured(
    tower: Tower, products: Products, folder: Path, data: tuple[str, ...], settings: tuple[str, ...] = ()
) -> Step:
    """The step that measures a tower's intermediate metrics.

    Args:
        tower: Which.
        products: Whose ``test`` it is measured on.
        folder: The study's.
        data: Words that name the data, of a tower that is not the study's own.
        settings: Further words.
    """
    if tower.run is not None:
        command, writes = words("test", run=tower.run, ckpt_path=tower.checkpoint) + settings, None
    else:
        command, writes = (*words("test", ckpt_path=tower.checkpoint), *data, *settings), folder / "tests" / tower.name
    return Step(
        f"towers/{tower.name}/test",
        command,
        writes=writes,
        needs=(*products.after, *tower.after),
        reads=(*products.reads, *tower.reads),
        seconds=6,
    )


def embedded(tower: Tower, products: Products, folder: Path, modality: str | None) -> Step:
    """The step that embeds all items with a tower."""
    to = folder / "embeddings" / tower.name
    return Step(
        f"towers/{tower.name}/embed",
        words("embed", tower.checkpoint, *products.items, modality=modality, to=to),
        writes=to,
        needs=(*products.after, *tower.after),
        reads=(*products.reads, *tower.reads),
        seconds=3 + products.num_items / 900,
    )


def _short(name: str) -> str:
    path = Path(name)
    if path.exists() and path.suffix == ".ckpt":
        return f"{path.parent.parent.name}-{path.stem}" if path.parent.name == "checkpoints" else path.stem
    return name.strip("/").rpartition("/")[2] if path.exists() else name.replace("/", "-")


def _common_step(steps: Sequence[int]) -> int:
    """The greatest interval at which every wanted step is saved."""
    from math import gcd

    return gcd(*steps)
