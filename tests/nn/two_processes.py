"""One of two gloo processes: every contrastive loss and GradCache on this rank's half, gradients averaged by DDP.

Run by test_two_processes.py, which runs the same cases in one process with the whole batch: ``python -m
tests.nn.two_processes RANK WORLD STORE OUT``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from moon_zoo.nn.gathering import gather_constants, logsumexp_over_ranks
from moon_zoo.nn.grad_cache import grad_cached, split_batch
from moon_zoo.nn.heads import LogitBias, LogitScale
from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.negatives import NegativeQueue
from moon_zoo.nn.siglip import sigmoid_loss

BATCH = 12
STEPS = 3


class Model(nn.Module):
    """Two linear towers, a temperature, a bias and queues: what all losses need."""

    def __init__(
        self, loss: str, *, queue: bool, micro_batch: int | None, double_documents: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.queries, self.documents = nn.Linear(6, 4), nn.Linear(6, 4)
        self.dropout = nn.Dropout(dropout)
        self.scale, self.bias = LogitScale(0.1), LogitBias(-2.0)
        self.document_queue = NegativeQueue(30, 4, warmup_steps=1) if queue else None
        self.query_queue = NegativeQueue(20, 4, warmup_steps=1) if queue else None
        self.loss, self.micro_batch, self.double_documents = loss, micro_batch, double_documents
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
        if self.loss == "siglip":
            loss = sigmoid_loss(queries, documents, self.scale(), self.bias(), **options)
        elif self.loss == "symmetric":
            extra = self.query_queue.documents() if self.query_queue is not None else None
            loss = symmetric_info_nce(queries, documents, self.scale(), extra_queries=extra, **options)
        else:
            loss = info_nce(queries, documents, self.scale(), **options)
        if self.document_queue is not None and self.query_queue is not None:
            self.document_queue.push(documents, document_groups)
            self.query_queue.push(queries, groups, valid)
        return loss + 0.0 * self.bias()  # every parameter takes part, as DDP's reducer asks


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
}


def batches() -> list[dict[str, Tensor]]:
    """The same on all ranks. Six groups for 12 rows: many positives per query, across ranks too; some rows invalid."""
    generator = torch.Generator().manual_seed(11)
    return [
        {
            "queries": torch.randn(BATCH, 6, generator=generator),
            "documents": torch.randn(BATCH, 2, 6, generator=generator),
            "groups": torch.randint(0, 6, (BATCH,), generator=generator),
            "valid": torch.arange(BATCH) % 5 != step,  # another number of valid rows on each rank
        }
        for step in range(STEPS)
    ]


def run_case(name: str, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """Losses and gradients of each step, summed over steps with no update between: only the queue changes."""
    model = CASES[name]()
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
    results = run_gathering(rank) | run_dropout(rank)
    for name in CASES:
        results |= run_case(name, rank, world)
    save_file(results, out / f"rank{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
