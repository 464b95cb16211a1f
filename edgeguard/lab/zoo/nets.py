# SPDX-License-Identifier: Apache-2.0
"""Three small classifiers of different kinds, so that one flaw does not fell all three.

Each takes images [N, 3, 32, 32] in [0, 1] (pixel / 255, no other normalisation outside of the
network) and returns scores [N, 43] (logits) and embedding [N, D], the penultimate activation.

=========  ========================  ====================  ================  ==========
name       filters                   downsampling          activation        embedding
=========  ========================  ====================  ================  ==========
plain      dense 5x5, 3x3            max-pooling           ReLU              96
compact    depthwise 5x5/3x3 + 1x1   strided depthwise     ReLU6             96
robust     dense 5x5, 3x3, residual  strides, average      ReLU              128
=========  ========================  ====================  ================  ==========
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from edgeguard.lab.zoo.data import CLASSES


def conv(into: int, out: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias ('same' padding) and batch normalisation."""
    return [
        nn.Conv2d(into, out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]


def rectified(into: int, out: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(*conv(into, out, size, stride), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    """features -> embedding -> scores; the embedding is non-negative."""

    def __init__(self, features: nn.Module, embed: nn.Module, width: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.embed = embed
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, 3, 32, 32] in [0, 1] -> scores [N, 43], embedding [N, D]."""
        embedding = self.embed(self.features(x))
        return self.head(self.dropout(embedding)), embedding


def plain() -> Classifier:
    """A straight stack of dense convolutions and max-pooling, then two linear layers."""
    features = nn.Sequential(
        rectified(3, 32, 5),
        nn.MaxPool2d(2),
        rectified(32, 64, 3),
        rectified(64, 64, 3),
        nn.MaxPool2d(2),
        rectified(64, 128, 3),
        rectified(128, 128, 3),
        nn.MaxPool2d(2),
    )
    embed = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(128 * 16, 96, bias=False),
        nn.BatchNorm1d(96),
        nn.ReLU(),
    )
    return Classifier(features, embed, 96, 0.2)


def separable(into: int, out: int, size: int, stride: int = 1) -> nn.Sequential:
    """Depthwise convolution, then a pointwise one."""
    return nn.Sequential(
        nn.Sequential(*conv(into, into, size, stride, groups=into), nn.ReLU6(inplace=True)),
        nn.Sequential(*conv(into, out, 1), nn.ReLU6(inplace=True)),
    )


def compact() -> Classifier:
    """Depthwise-separable convolutions; a depthwise 4x4 filter in place of global pooling."""
    features = nn.Sequential(
        nn.Sequential(*conv(3, 16, 3), nn.ReLU6(inplace=True)),
        separable(16, 32, 5, 2),
        separable(32, 48, 3),
        separable(48, 80, 5, 2),
        separable(80, 92, 3),
        separable(92, 124, 3, 2),
    )
    embed = nn.Sequential(
        nn.Conv2d(124, 124, 4, groups=124, bias=False),
        nn.BatchNorm2d(124),
        nn.Flatten(),
        nn.Linear(124, 96, bias=False),
        nn.BatchNorm1d(96),
        nn.ReLU6(),
    )
    return Classifier(features, embed, 96, 0.1)


class Residual(nn.Module):
    """x + two convolutions, then ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(rectified(width, width, 3), nn.Sequential(*conv(width, width, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return torch.relu(x + self.body(x))


def robust() -> Classifier:
    """A residual network without max-pooling: no winner that an attack could flip."""
    features = nn.Sequential(
        rectified(3, 48, 5, 2),
        Residual(48),
        rectified(48, 96, 3, 2),
        Residual(96),
        rectified(96, 128, 3),
        nn.AvgPool2d(2),
    )
    embed = nn.Sequential(
        nn.Flatten(), nn.Linear(128 * 16, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()
    )
    return Classifier(features, embed, 128, 0.1)


NETS = {"plain": plain, "compact": compact, "robust": robust}


def build(name: str, frozen: bool = False) -> Classifier:
    """A network in the memory layout that is fastest on CPUs; frozen: for inference only."""
    net: Classifier = NETS[name]().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.requires_grad_(False).eval() if frozen else net


def parameters(net: nn.Module) -> int:
    """Number of parameters in the exported file, batch normalisation folded away."""
    total = 0
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            total += module.weight.numel() + module.weight.shape[0]
    return total


def folded(net: Classifier) -> Classifier:
    """A copy for inference: batch normalisations folded into the layers before, dropout gone."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if not isinstance(module, nn.Sequential):
            continue
        layers = [m for m in module if not isinstance(m, nn.Dropout)]
        for i in range(len(layers) - 1, 0, -1):
            before, norm = layers[i - 1], layers[i]
            if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i - 1 : i + 1] = [fusion.fuse_conv_bn_eval(before, norm)]
            elif isinstance(before, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                layers[i - 1 : i + 1] = [fusion.fuse_linear_bn_eval(before, norm)]
        module._modules.clear()
        module.extend(layers)
    return net
