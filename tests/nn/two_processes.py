"""One of two gloo processes: every contrastive loss and GradCache on this rank's half, gradients averaged by DDP.

Run by test_two_processes.py, which runs the same cases in one process with the whole batch: ``python -m
tests.nn.two_processes RANK WORLD STORE OUT``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from moon_zoo.nn.circle import circle_loss
from moon_zoo.nn.gathering import gather_constants, logsumexp_over_ranks
from moon_zoo.nn.grad_cache import grad_cached, split_batch
from moon_zoo.nn.heads import LogitBias, LogitScale
from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.matryoshka import matryoshka
from moon_zoo.nn.negative_counts import count_negatives
from moon_zoo.nn.negatives import NegativeQueue
from moon_zoo.nn.pair_filter import pair_weights
from moon_zoo.nn.siglip import sigmoid_loss

BATCH = 12
STEPS = 3


class Model(nn.Module):
    """Two linear towers, a temperature, a bias and queues: what all losses need."""

    def __init__(
        self,
        loss: str,
        *,
        queue: bool,
        micro_batch: int | None,
        double_documents: bool,
        dropout: float = 0.0,
        selective: bool = False,
        gather: bool = True,
    ) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.queries, self.documents = nn.Linear(6, 4), nn.Linear(6, 4)
        self.dropout = nn.Dropout(dropout)
        self.scale, self.bias = LogitScale(0.1), LogitBias(-2.0)
        self.document_queue = NegativeQueue(30, 4, warmup_steps=1) if queue else None
        self.query_queue = NegativeQueue(20, 4, warmup_steps=1) if queue else None
        self.loss, self.micro_batch, self.double_documents = loss, micro_batch, double_documents
        self.selective, self.gather = selective, gather
        self.in_one_graph = False

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        documents = batch["documents"].flatten(0, 1) if self.double_documents else batch["documents"][:, 0]
        found = {
            "queries": nn.functional.normalize(self.queries(self.dropout(batch["queries"])), dim=1),
            "documents": nn.functional.normalize(self.documents(documents), dim=1),
        }
        if self.double_documents:  # one row per query keeps the batch axes equal
            found["documents"] = found["documents"].unflatten(0, (-1, 2))
        return found

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        def loss_of(embeddings: dict[str, Tensor]) -> Tensor:
            return self.loss_of(embeddings["queries"], embeddings["documents"], batch)

        if self.micro_batch is None:
            return loss_of(self.encode(batch))
        if self.in_one_graph:  # what GradCache replaces, with dropout drawn in the same order
            parts = [self.encode(part) for part in split_batch(batch, self.micro_batch)]
            return loss_of({key: torch.cat([part[key] for part in parts]) for key in parts[0]})
        return grad_cached(self.encode, split_batch(batch, self.micro_batch), loss_of, self.parameters())

    def loss_of(self, queries: Tensor, documents: Tensor, batch: dict[str, Tensor]) -> Tensor:
        groups, valid, document_groups = batch["groups"], batch["valid"], batch["groups"]
        if self.double_documents:
            documents, document_groups = documents.flatten(0, 1), groups.repeat_interleave(2)
        options = {
            "query_groups": groups,
            "document_groups": document_groups,
            "query_valid": valid,
            "extra_documents": self.document_queue.documents() if self.document_queue is not None else None,
            "tile": 5,
        }
        if self.selective or not self.gather:
            options |= self.selection(queries, documents, batch)
        if self.loss == "circle":
            loss = matryoshka(circle_loss, [2, 4])(queries, documents, 20.0, **options)
        elif self.loss == "siglip":
            loss = sigmoid_loss(queries, documents, self.scale(), self.bias(), **options)
        elif self.loss == "symmetric":
            extra = self.query_queue.documents() if self.query_queue is not None else None
            loss = symmetric_info_nce(queries, documents, self.scale(), extra_queries=extra, **options)
        else:
            loss = info_nce(queries, documents, self.scale(), **options)
        if self.document_queue is not None and self.query_queue is not None:
            self.document_queue.push(documents, document_groups)
            self.query_queue.push(queries, groups, valid)
        return loss + 0.0 * (self.bias() + self.scale())  # every parameter takes part, as DDP's reducer asks

    def selection(self, queries: Tensor, documents: Tensor, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Options that leave pairs out or weigh them; the second document of each query is a hard negative."""
        groups = batch["groups"]
        hard = (groups + 1) % 9  # often another query's product
        options: dict[str, Any] = {"similarity_ceiling": 0.1, "gather": self.gather}
        if self.double_documents:
            options["document_groups"] = torch.stack([groups, hard], 1).flatten()
            options["document_valid"] = torch.stack([torch.ones_like(batch["valid"]), hard != 4], 1).flatten()
            options["query_ignore"], options["document_ignore"] = groups // 4, options["document_groups"] // 4
        if self.loss != "symmetric":
            options["query_weights"] = batch["weights"]
            if self.gather:
                positives = documents.unflatten(0, (len(queries), -1))[:, 0]
                options["query_weights"] = batch["weights"] * pair_weights(
                    queries, positives, margin=0.1, query_groups=groups, document_groups=groups
                )
        return options


CASES: dict[str, Callable[[], Model]] = {
    f"{loss}{'_queue' if queue else ''}{'_cache' if cache else ''}{'_double' if double else ''}": (
        lambda loss=loss, queue=queue, cache=cache, double=double: Model(
            loss, queue=queue, micro_batch=4 if cache else None, double_documents=double
        )
    )
    for loss in ("info_nce", "symmetric", "siglip")
    for queue in (False, True)
    for cache in (False, True)
    for double in (False, True)
} | {
    f"{loss}_selective{'_queue' if queue else ''}": (
        lambda loss=loss, queue=queue: Model(loss, queue=queue, micro_batch=None, double_documents=True, selective=True)
    )
    for loss in ("info_nce", "symmetric", "circle")
    for queue in (False, True)
}

LOCAL = {f"{loss}_local": loss for loss in ("info_nce", "symmetric", "circle")}
"""Cases in which no rank sees another's documents; `run_local` is what they should give."""


def batches() -> list[dict[str, Tensor]]:
    """The same on all ranks. Six groups for 12 rows: many positives per query, across ranks too; some rows invalid."""
    generator = torch.Generator().manual_seed(11)
    return [
        {
            "queries": torch.randn(BATCH, 6, generator=generator),
            "documents": torch.randn(BATCH, 2, 6, generator=generator),
            "groups": torch.randint(0, 6, (BATCH,), generator=generator),
            "valid": torch.arange(BATCH) % 5 != step,  # another number of valid rows on each rank
            "weights": torch.rand(BATCH, generator=generator),
        }
        for step in range(STEPS)
    ]


def run_case(name: str, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """Losses and gradients of each step, summed over steps with no update between: only the queue changes."""
    model = Model(LOCAL[name], **LOCAL_OPTIONS) if name in LOCAL else CASES[name]()
    wrapped = model if world == 1 else DistributedDataParallel(model)
    rows = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    results: dict[str, Tensor] = {}
    for step, batch in enumerate(batches()):
        model.zero_grad()
        loss = wrapped({key: value[rows] for key, value in batch.items()})
        loss.backward()
        results[f"{name}/{step}/loss"] = _mean(loss.detach())
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None, (name, parameter_name)
            results[f"{name}/{step}/{parameter_name}"] = parameter.grad.clone()
    for buffer_name, buffer in model.named_buffers():
        results[f"{name}/buffer/{buffer_name}"] = buffer.clone()
    return results


LOCAL_OPTIONS: dict[str, Any] = {"queue": False, "micro_batch": None, "double_documents": False, "gather": False}


def run_local(name: str) -> dict[str, Tensor]:
    """What two ranks that gather nothing should give, in one process: each half's sum over its rows, over all that count.

    ``info_nce`` and ``circle`` share out weights, ``symmetric`` counts of queries and of documents.
    """
    model = Model(LOCAL[name], **LOCAL_OPTIONS)
    results: dict[str, Tensor] = {}
    for step, batch in enumerate(batches()):
        model.zero_grad()
        halves = [{key: value[rows] for key, value in batch.items()} for rows in (slice(0, 6), slice(6, 12))]
        shares = torch.stack([counted_in(half, LOCAL[name]) for half in halves])
        parts = []
        for half, share in zip(halves, shares / shares.sum(0), strict=True):
            if LOCAL[name] != "symmetric":
                parts.append(model(half) * share)
                continue
            found = model.encode(half)
            parts.append(two_directions(model, found["queries"], found["documents"], half, share))
        loss = torch.stack(parts).sum()
        loss.backward()
        results[f"{name}/{step}/loss"] = loss.detach()
        for parameter_name, parameter in model.named_parameters():
            results[f"{name}/{step}/{parameter_name}"] = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            )
    return results


def counted_in(half: dict[str, Tensor], loss: str) -> Tensor:
    """Weight of a half's queries; of ``symmetric`` the numbers of its queries and of its documents with a valid query."""
    if loss != "symmetric":
        return (half["weights"] * half["valid"]).sum()
    documents = torch.isin(half["groups"], half["groups"][half["valid"]])
    return torch.stack([half["valid"].sum(), documents.sum()]).float()


def two_directions(model: Model, queries: Tensor, documents: Tensor, half: dict[str, Tensor], share: Tensor) -> Tensor:
    """Both directions of the symmetric loss, each from its share, by pairs written out."""
    logits = model.scale() * queries @ documents.T
    positive = half["groups"][:, None] == half["groups"]
    mean = {0: positive & half["valid"][:, None], 1: positive}
    cosine = (queries @ documents.T).detach()
    out = cosine > (cosine * mean[1]).sum(1, keepdim=True) / mean[1].sum(1, keepdim=True) + 0.1
    out |= cosine > (cosine * mean[0]).sum(0) / mean[0].sum(0).clamp_min(1) + torch.where(mean[0].any(0), 0.1, 9.0)
    there = (positive | ~out) & half["valid"][:, None]
    total = logits.new_zeros(())
    for matrix, own, kept, part in ((logits, mean[0], there, share[0]), (logits.T, mean[0].T, there.T, share[1])):
        rows = [row[k].logsumexp(0) - row[p].mean() for row, p, k in zip(matrix, own, kept, strict=True) if p.any()]
        total = total + torch.stack(rows).mean() * part / 2
    return total


def run_counts(rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """Numbers of negatives; of two ranks, the other's are told apart."""
    batch, generator = batches()[0], torch.Generator().manual_seed(3)
    rows = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    queries, documents = torch.randn(2, BATCH, 4, generator=generator)
    unit = nn.functional.normalize
    found = count_negatives(
        unit(queries[rows], dim=1),
        unit(documents[rows], dim=1),
        query_groups=batch["groups"][rows],
        document_groups=batch["groups"][rows],
        query_valid=batch["valid"][rows],
        similarity_ceiling=0.1,
    )
    return {f"counts/{name}": value.clone() for name, value in found.items()}


def run_dropout(rank: int) -> dict[str, Tensor]:
    """GradCache under DDP with dropout that differs from rank to rank, and the same in one graph."""
    results: dict[str, Tensor] = {}
    for name in ("cached", "in_one_graph"):
        model = Model("symmetric", queue=False, micro_batch=2, double_documents=False, dropout=0.5)
        model.in_one_graph = name == "in_one_graph"
        wrapped = DistributedDataParallel(model)
        torch.manual_seed(100 + rank)
        rows = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
        for batch in batches():  # gradients add up over steps
            wrapped({key: value[rows] for key, value in batch.items()}).backward()
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None
            results[f"dropout/{name}/{parameter_name}"] = parameter.grad.clone()
    return results


def run_gathering(rank: int) -> dict[str, Tensor]:
    """The collectives alone: ints, bools, and log-sums of which a rank has no term."""
    inf = float("inf")
    parts = torch.tensor([[0.0, -inf, -inf, 100.0], [1.0, 2.0, -inf, 100.0]], requires_grad=True)
    joined = logsumexp_over_ranks(parts[rank])
    weights = torch.tensor([1.0, 2.0, 0.0, 3.0])
    (gradient,) = torch.autograd.grad((joined * weights).sum(), parts)
    return {
        "gathering/bools": gather_constants(torch.tensor([rank == 0, True])).to(torch.uint8),
        "gathering/ids": gather_constants(torch.tensor([[rank, 1 << 40]])),
        "gathering/joined": joined.detach(),
        "gathering/gradient": gradient[rank].clone(),
    }


def _mean(value: Tensor) -> Tensor:
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def main() -> None:
    rank, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    results = run_gathering(rank) | run_dropout(rank) | run_counts(rank, world)
    for name in (*CASES, *LOCAL):
        results |= run_case(name, rank, world)
    save_file(results, out / f"rank{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
