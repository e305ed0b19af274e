"""Muon for the matrices inside a network, AdamW for all else: one optimiser, one state, one schedule.

Muon moves a matrix by the nearest orthogonal matrix of its momentum, so that all directions of a layer learn at one pace, also
those of which gradients say little. A vision tower that starts from nothing learns several times faster so: see the card of
`moon_zoo.models.moon`. Tables of tokens, output layers, convolutions, norms and biases are AdamW's.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks" (Newton-Schulz iteration and its
coefficients); Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982, section 2.2 (steps as large as AdamW's).
Equal to ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, which takes single matrices alone; here matrices of one
shape, and those of stacked experts, go through the iteration together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

HIDDEN = "hidden"
"""Key of a parameter group whose matrices are inside the network; `moon_zoo.models.base.ZooModule.parameter_groups` sets it."""

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_EPSILON = 1e-7


class MuonAdamW(torch.optim.Optimizer):
    """Muon for groups marked ``hidden``, AdamW for the others.

    Args:
        params: Groups; of those with ``hidden: True`` each parameter is a matrix ``(out, in)`` or a stack of them.
        lr: AdamW's learning rate.
        muon_lr: Muon's; a step changes a matrix as much as AdamW would at this rate.
        weight_decay: Of both, decoupled; a group's own counts before it.
        betas: AdamW's decay of the means of gradients and of their squares.
        eps: AdamW's.
        momentum: Muon's decay of the mean of gradients, which is looked at one step ahead (Nesterov).

    Raises:
        ValueError: A number out of its range, or a parameter of a hidden group that is no matrix.

    Example:
        >>> layer = torch.nn.Linear(8, 8)
        >>> groups = [{"params": [layer.weight], "hidden": True}, {"params": [layer.bias]}]
        >>> optimizer = MuonAdamW(groups, lr=1e-3, muon_lr=1e-2)
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]] | Iterable[Tensor],
        lr: float = 1e-3,
        muon_lr: float = 1e-2,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        momentum: float = 0.95,
    ) -> None:
        for name, value in (("lr", lr), ("muon_lr", muon_lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0: {value}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1: {momentum}")
        groups: list[Any] = list(params)
        if groups and not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        # Groups are the caller's: what is added to them stays here.
        groups = [{**group, "lr": group.get("lr", muon_lr)} if group.get(HIDDEN) else dict(group) for group in groups]
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": tuple(betas), "eps": eps, "momentum": momentum}
        super().__init__(groups, {**defaults, HIDDEN: False})
        for group in self.param_groups:
            for parameter in group["params"] if group[HIDDEN] else ():
                if parameter.ndim not in (2, 3):
                    raise ValueError(f"a hidden parameter is no matrix, nor a stack of them: {tuple(parameter.shape)}")
        self._adamw = torch.optim.AdamW([torch.zeros(())], lr=lr, betas=betas, eps=eps)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every group.

        Args:
            closure: Computes the loss and its gradients.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group[HIDDEN]:
                self._muon_step(group)
        # The same groups and state: AdamW's parts of a checkpoint and of a schedule are ours.
        self._adamw.param_groups = [
            {**self._adamw.defaults, **group} for group in self.param_groups if not group[HIDDEN]
        ]
        self._adamw.state = self.state
        self._adamw.step()
        return loss

    def _muon_step(self, group: Mapping[str, Any]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        alike: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike[parameter.shape[-2:], parameter.device, parameter.dtype].append(parameter)
        for (shape, *_), parameters in alike.items():
            updates = torch.cat([self._ahead(parameter, momentum).view(-1, *shape) for parameter in parameters])
            updates = orthogonal(updates)
            size = 0.2 * max(shape) ** 0.5  # the root mean square of AdamW's steps
            for parameter, update in zip(
                parameters, updates.split([one.numel() // shape.numel() for one in parameters])
            ):
                parameter.mul_(1 - lr * group["weight_decay"])
                parameter.add_(update.view_as(parameter), alpha=-lr * size)

    def _ahead(self, parameter: Tensor, momentum: float) -> Tensor:
        """The mean of a parameter's gradients as it will be, if the next gradient is like this one."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices with singular values about 1 (between .7 and 1.2), by five Newton-Schulz iterations in bfloat16.

    Args:
        matrices: ``(count, rows, columns)``.

    Returns:
        bfloat16, the same shape; zeros stay zeros.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    found = matrices.bfloat16()
    found = found.mT if tall else found
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_ITERATIONS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found.mT if tall else found
