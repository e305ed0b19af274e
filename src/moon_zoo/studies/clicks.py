"""Click models that a study trains: one `fit` and one `test` per embedding and seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from moon_zoo.studies.material import Impressions, data_words
from moon_zoo.studies.steps import Step, words

FIT_SECONDS_PER_ROW = 1 / 15_000
"""One epoch of CUBE with twenty behaviours, validation included, on two cores."""

TEST_SECONDS_PER_ROW = 1 / 60_000

CONTROLS = ("none", "din", "shuffled")
"""What embeddings are compared with: no behaviours, behaviours by id alone, and the same vectors given to other items."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """How click models are trained.

    Args:
        folder: The study's.
        impressions: What they learn from.
        recipe: The recipe's name.
        values: Its plain values.
        settings: Further words of every fit.
        epochs: Passes over the training rows; None for the recipe's.
        max_history: Behaviours read; None for the recipe's.
    """

    folder: Path
    impressions: Impressions
    recipe: str
    values: Mapping[str, Any]
    settings: tuple[str, ...] = ()
    epochs: int | None = 1
    max_history: int | None = 20

    @property
    def batch_size(self) -> int | None:
        """Rows per step, as settings or recipe say; None where they do not."""
        said = [value for option, value in pairwise(self.settings) if option == "--data.batch_size"]
        found = said[-1] if said else ((self.values.get("data") or {}).get("init_args") or {}).get("batch_size")
        return int(str(found)) if str(found).isdigit() else None

    def steps(
        self,
        name: str,
        seed: int,
        *,
        embeddings: Path | None = None,
        modality: str | None = None,
        after: Sequence[str] = (),
        further: Sequence[str] = (),
    ) -> list[Step]:
        """The fit and the test of one click model.

        Args:
            name: What it is called, such as the embedding checkpoint's name.
            seed: Of its training.
            embeddings: The folder it takes items' embeddings from; none where it uses none.
            modality: Which of them.
            after: Steps that make them.
            further: Further words of the fit.
        """
        run = self.folder / "clicks" / name / f"seed-{seed}"
        data = self.impressions
        options = words(
            "",
            model__embeddings=embeddings,
            model__modality=modality if embeddings is not None else None,
            seed_everything=seed,
            run=run,
        )[1:]
        size = words("", trainer__max_epochs=self.epochs, model__max_history=self.max_history)[1:]
        sets = {"train": data.train, "val": data.val, "test": data.test}
        fit = Step(
            f"clicks/{name}/seed-{seed}/fit",
            (
                *words("fit", config=self.recipe),
                *data_words(self.values, sets),
                *size,
                *self.settings,
                *further,
                *options,
            ),
            writes=run,
            needs=(*data.after, *after),
            reads=(json.dumps(self.values, sort_keys=True, default=str) + "\n", *data.reads),
            seconds=5 + data.num_train * FIT_SECONDS_PER_ROW,
        )
        test = Step(
            f"clicks/{name}/seed-{seed}/test",
            words("test", run=run),
            needs=(*data.after, fit.name),
            reads=data.reads,
            seconds=2 + data.num_test * TEST_SECONDS_PER_ROW,
        )
        return [fit, test]

    def control(
        self, name: str, seed: int, *, embeddings: Path, modality: str | None, after: Sequence[str]
    ) -> list[Step]:
        """The steps of a control (`CONTROLS`).

        Args:
            name: Which.
            seed: Of its training; also of the shuffling.
            embeddings: Those that are shuffled.
            modality: Which of them.
            after: Steps that make them.
        """
        label = f"control-{name}"
        if name == "shuffled":
            further = ("--model.shuffle_embeddings", str(seed))
            return self.steps(label, seed, embeddings=embeddings, modality=modality, after=after, further=further)
        # null, since the recipe may name embeddings of its own
        return self.steps(label, seed, further=("--model.behaviour", name, "--model.embeddings", "null"))
