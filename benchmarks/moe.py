"""Mixture-of-experts networks, forward and backward, beside transformers' own experts of Qwen3-MoE, eager and grouped.

python benchmarks/moe.py                                    # 64 experts, 2048 and 64 tokens, 4 experts each, as in the table
python benchmarks/moe.py --experts 8 --tokens 256 --rounds 3    # a quick look

All contenders get the same weights, tokens, chosen experts and routing weights; routers are not timed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from _harness import OURS, Row, alternate, compare, warn_if_busy, write_rows
from moon_zoo.nn.moe.dispatch import expert_ffn

EAGER, GROUPED = "transformers eager", "transformers grouped_mm"
PEERS = {EAGER: "eager", GROUPED: "grouped_mm"}
PRODUCTS = "the products alone"


def inputs(arguments: argparse.Namespace, tokens: int) -> list[Tensor]:
    """Tokens, gate and up, down, chosen experts, routing weights, and the gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    experts, dim, hidden_dim = arguments.experts, arguments.dim, arguments.hidden_dim

    def normal(*shape: int, std: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=generator) * std

    weights, expert_ids = normal(tokens, experts).softmax(1).topk(arguments.slots)
    return [
        normal(tokens, dim),
        normal(experts, 2 * hidden_dim, dim, std=dim**-0.5),
        normal(experts, dim, hidden_dim, std=hidden_dim**-0.5),
        expert_ids,
        weights / weights.sum(1, keepdim=True),
        normal(tokens, dim),
    ]


def their_experts(implementation: str, gate_up: Tensor, down: Tensor) -> nn.Module:
    """Qwen3-MoE's experts with these weights."""
    from transformers import Qwen3MoeConfig
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

    config = Qwen3MoeConfig(hidden_size=down.shape[1], moe_intermediate_size=down.shape[2], num_experts=len(down))
    config._experts_implementation = implementation
    experts = Qwen3MoeExperts(config)
    experts.load_state_dict({"gate_up_proj": gate_up, "down_proj": down})
    return experts


def contender(name: str, given: list[Tensor]) -> Callable[[], list[Tensor]]:
    """One forward and backward, which returns the output and all gradients."""
    hidden, gate_up, down, expert_ids, weights, gradient = given
    hidden, weights = hidden.clone().requires_grad_(), weights.clone().requires_grad_()
    if name == OURS:
        stacks = [nn.Parameter(gate_up.clone()), nn.Parameter(down.clone())]
    else:
        experts = their_experts(PEERS[name], gate_up, down)
        stacks = list(experts.parameters())
    trained = [hidden, weights, *stacks]

    def run() -> list[Tensor]:
        for tensor in trained:
            tensor.grad = None
        if name == OURS:
            output = expert_ffn(hidden, stacks[0], stacks[1], expert_ids, weights)
        else:
            output = experts(hidden, expert_ids, weights)
        output.backward(gradient)
        return [output.detach(), *(tensor.grad for tensor in trained)]

    return run


def products_alone(given: list[Tensor]) -> Callable[[], None]:
    """The six products per expert that any program needs, on tokens spread evenly, without anything between them."""
    _, gate_up, down, expert_ids, _, _ = given
    experts, dim, hidden_dim = down.shape
    rows = max(1, expert_ids.numel() // experts)
    tokens, both, hidden = torch.randn(rows, dim), torch.randn(rows, 2 * hidden_dim), torch.randn(rows, hidden_dim)
    to_gate_up, to_down = torch.empty_like(gate_up), torch.empty_like(down)

    def run() -> None:
        for first, second, to_first, to_second in zip(
            *(part.unbind() for part in (gate_up, down, to_gate_up, to_down))
        ):
            torch.mm(tokens, first.t())
            torch.mm(hidden, second.t())
            torch.mm(tokens, second)
            torch.mm(both, first)
            torch.mm(both.t(), tokens, out=to_first)
            torch.mm(tokens.t(), hidden, out=to_second)

    return run


def rows_of(arguments: argparse.Namespace, tokens: int, targets: dict[str, str]) -> list[Row]:
    """Check that all agree, then time them."""
    given = inputs(arguments, tokens)
    runs = {name: contender(name, given) for name in (OURS, *PEERS)}
    expected = runs[EAGER]()
    for name in (OURS, GROUPED):
        for ours, theirs in zip(runs[name](), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
    print(f"{tokens} tokens: outputs and gradients are equal", flush=True)
    seconds = alternate(runs | {PRODUCTS: products_alone(given)}, rounds=arguments.rounds, warmups=2)
    floor = statistics.median(seconds.pop(PRODUCTS))
    size = f"{arguments.experts} experts of {arguments.dim} x {arguments.hidden_dim}, {tokens} tokens, {arguments.slots} each"
    flops = 18 * tokens * arguments.slots * arguments.dim * arguments.hidden_dim
    return compare(
        f"{size}, forward + backward, {torch.get_num_threads()} threads",
        seconds,
        ratio_of="peer / ours",
        targets=targets,
        floor=f"{floor:.3g} s: {PRODUCTS}, one by one, {flops / 1e9:.2g} GFLOP",
        packages=("transformers",),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--hidden-dim", type=int, default=192)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--few-tokens", type=int, default=64)
    parser.add_argument("--slots", type=int, default=4, help="experts of a token")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    warn_if_busy()
    write_rows(
        "moe",
        [
            *rows_of(arguments, arguments.tokens, {EAGER: ">= 3.5", GROUPED: ">= 1.1"}),
            *rows_of(arguments, arguments.few_tokens, {GROUPED: ">= 2.0"}),
        ],
    )


if __name__ == "__main__":
    main()
