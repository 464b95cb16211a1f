# SPDX-License-Identifier: Apache-2.0
"""Boxes through a float network while it is trained: interval bounds that carry gradients.

Batch normalisation takes its statistics from the clean images and applies them to the box as well
(Shi et al. 2021, "Fast Certified Robust Training with Short Warmup").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeguard.lab.zoo import nets


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers of nested Sequentials in order."""
    if not isinstance(module, nn.Sequential):
        return [module]
    return [layer for child in module for layer in _layers(child)]


def initialise(net: nets.Classifier, g: torch.Generator) -> None:
    """Weights N(0, sqrt(2 pi) / fan-in): boxes keep their size from layer to layer (Shi et al.)."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            with torch.no_grad():
                deviation = math.sqrt(2 * math.pi) / fan_in
                module.weight.copy_(torch.randn(module.weight.shape, generator=g) * deviation)


def _normalised(
    norm: nn.BatchNorm2d | nn.BatchNorm1d, clean: Tensor, box: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation by the statistics of the clean half."""
    shape = (1, -1, 1, 1) if clean.dim() == 4 else (1, -1)
    if norm.training:
        dims = (0, 2, 3) if clean.dim() == 4 else (0,)
        mean, variance = clean.mean(dims), clean.var(dims, unbiased=False)
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)  # type: ignore[union-attr]
            norm.running_var.lerp_(variance, norm.momentum)  # type: ignore[union-attr]
    else:
        mean, variance = norm.running_mean, norm.running_var  # type: ignore[assignment]
    gain = norm.weight / torch.sqrt(variance + norm.eps)
    offset = (norm.bias - mean * gain).view(shape)
    gain = gain.view(shape)
    return clean * gain + offset, box * gain + offset, radius * gain.abs()


def _affine(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        return functional.conv2d(x, weight, bias, layer.stride, layer.padding)
    return functional.linear(x, weight, bias)


def forward(net: nets.Classifier, x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
    """Scores [N, 43] of images x, and bounds of the embedding [N, D] over boxes [low, high].

    x, low and high are float32 [N, 3, H, W]. The layers may be Conv2d, BatchNorm, ReLU, Linear,
    Flatten and Dropout (which is left out). Raises TypeError that names any other.
    """
    clean, centre, radius = x, (low + high) / 2, (high - low) / 2
    n = len(x)
    for layer in _layers(net.features) + _layers(net.embed):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            both = _affine(layer, torch.cat([clean, centre]), layer.weight, layer.bias)
            radius = _affine(layer, radius, layer.weight.abs(), None)
            clean, centre = both[:n], both[n:]
        elif isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm1d)):
            clean, centre, radius = _normalised(layer, clean, centre, radius)
        elif isinstance(layer, nn.ReLU):
            top, bottom = torch.relu(centre + radius), torch.relu(centre - radius)
            clean, centre, radius = torch.relu(clean), (top + bottom) / 2, (top - bottom) / 2
        elif isinstance(layer, nn.Flatten):
            clean, centre, radius = clean.flatten(1), centre.flatten(1), radius.flatten(1)
        elif not isinstance(layer, nn.Dropout):
            raise TypeError(f"boxes do not go through {type(layer).__name__}")
    return net.head(clean), centre, radius


def worst_scores(head: nn.Linear, centre: Tensor, radius: Tensor, y: Tensor) -> Tensor:
    """The largest lead [N, 43] that each class can have over class y; 0 at y itself.

    The last layer is folded into the difference of two classes, which is tighter than two boxes.
    """
    rows = head.weight[None] - head.weight[y][:, None]
    lead = torch.einsum("nkd,nd->nk", rows, centre) + torch.einsum("nkd,nd->nk", rows.abs(), radius)
    return lead + head.bias[None] - head.bias[y][:, None]
