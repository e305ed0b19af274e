"""The loss against the zoo's own, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from moon_zoo.nn.info_nce import info_nce
from torch import Tensor

from acme_products.losses import hard_negative_nce


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = [F.normalize(torch.randn(7, 5, generator=generator), dim=-1) for _ in range(2)]
    groups = torch.tensor([1, 1, 2, 3, 4, 5, 5])
    return {
        "queries": rows[0],
        "documents": rows[1],
        "query_groups": groups,
        "document_groups": groups,
        "query_valid": torch.tensor([True] * 6 + [False]),
        "document_valid": torch.tensor([True] * 5 + [False, True]),
    }


def test_without_hardness_it_is_info_nce() -> None:
    assert hard_negative_nce(scale=9.0, hardness=0.0, **batch()) == pytest.approx(float(info_nce(scale=9.0, **batch())))


def test_two_negatives_by_hand() -> None:
    """Query 0 has cosines 1 (its own), 0.6 and -0.8; scale 2, hardness 1. Scores 2, 1.2, -1.6; the negatives' weights are
    2 * e^1.2 / (e^1.2 + e^-1.6) and 2 * e^-1.6 / (same), which multiply e^1.2 and e^-1.6 below."""
    own = torch.tensor([[1.0, 0.0]])
    documents = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    total = math.exp(1.2) + math.exp(-1.6)
    negatives = 2 * (math.exp(1.2) ** 2 + math.exp(-1.6) ** 2) / total
    found = hard_negative_nce(
        own,
        documents,
        2.0,
        query_groups=torch.tensor([0]),
        document_groups=torch.tensor([0, 1, 2]),
        query_valid=torch.tensor([True]),
        document_valid=torch.ones(3, dtype=torch.bool),
        hardness=1.0,
    )
    assert float(found) == pytest.approx(math.log(math.exp(2.0) + negatives) - 2.0)


def test_a_query_without_negatives_has_a_finite_gradient() -> None:
    rows = torch.eye(2, requires_grad=True)
    same = torch.zeros(2, dtype=torch.int64)
    there = torch.ones(2, dtype=torch.bool)
    hard_negative_nce(
        rows, rows, 5.0, query_groups=same, document_groups=same, query_valid=there, document_valid=there, hardness=1.0
    ).backward()
    assert rows.grad is not None and rows.grad.isfinite().all()


def test_nothing_that_counts_is_zero() -> None:
    nobody = batch() | {"query_valid": torch.zeros(7, dtype=torch.bool)}
    assert float(hard_negative_nce(scale=9.0, hardness=1.0, **nobody)) == 0.0
