"""What LightGlue computes in where nobody chose: measured on a small network of its own kind."""

from collections.abc import Callable
from functools import lru_cache

import torch

from photoglue.matchers.lightglue.config import LightGlueConfig, LightGlueShape
from photoglue.native.library import int16_supported
from photoglue.precision import WORTH_IT, Precision, auto_elsewhere, bfloat16_by_rule, check_precision, cpu_has_bfloat16
from photoglue.probe import Choice, Contenders, fastest, settled
from photoglue.structs import Features

NAME = "matching"


def matching_choice(device: torch.device) -> Choice:
    """What ``precision="auto"`` means for LightGlue on a device, and why.

    On a CPU int16 where the native library has fast products of it, else float32; bfloat16 if it is measured to be half
    as fast again as that, as it may be with AMX.
    """
    return _on_this_cpu(int16_supported()) if device.type == "cpu" else auto_elsewhere(device, NAME)


def matching_precision(precision: Precision, device: torch.device, shape: LightGlueShape | None = None) -> Precision:
    """The precision that LightGlue computes in: the one that is named, or what "auto" means.

    Args:
        precision: The wish.
        device: Where it is computed.
        shape: Shape of the network; None: of one with released weights. Where there is no int16 for it, "auto" is what
            it is without the native library.

    Raises:
        ConfigError: If there is no such precision.
    """
    check_precision(precision)
    if precision != "auto":
        return precision
    chosen = matching_choice(device).chosen
    if chosen == "int16" and shape is not None and not _has_int16(shape):
        chosen = _on_this_cpu(False).chosen
    found: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16", "int16": "int16"}
    return found[chosen]


def _has_int16(shape: LightGlueShape) -> bool:
    return shape.descriptor_dim <= 256 and shape.descriptor_dim // shape.num_heads in (32, 64)


@lru_cache
def _on_this_cpu(int16: bool) -> Choice:
    exact: Precision = "int16" if int16 else "float32"
    half: tuple[Precision, ...] = ("bfloat16",) if cpu_has_bfloat16() else ()
    fixed = settled(NAME, ("float32", *half, *(("int16",) if int16 else ())), exact if int16 else bfloat16_by_rule())
    if fixed or not half:
        return fixed or Choice(name=NAME, chosen=exact, reason="this CPU has no bfloat16 products")
    # Without int16 another question, under another name.
    asked = fastest(
        NAME if int16 else f"{NAME} in torch", lambda: _networks(exact, *half), usual=exact, margin=WORTH_IT, rounds=3
    )
    return Choice(name=NAME, chosen=asked.chosen, reason=asked.reason)


def _networks(*precisions: Precision) -> Contenders:
    """One layer and an assignment, for a pair with 1024 points a photo: between what most people take."""
    from photoglue.matchers.lightglue.model import LightGlue

    chance = torch.Generator().manual_seed(0)
    photos = [
        Features(
            keypoints=torch.rand(1024, 2, generator=chance) * 639,
            descriptors=torch.nn.functional.normalize(torch.randn(1024, 256, generator=chance)),
            scores=torch.ones(1024),
            image_size=(640, 640),
            kind="drawn",
        )
        for _ in range(2)
    ]

    def run(precision: Precision) -> Callable[[], object]:
        with torch.random.fork_rng(devices=[]):
            network = LightGlue(LightGlueConfig.accurate(), shape=LightGlueShape(n_layers=1))
        network.eval().requires_grad_(False).prepare(precision)
        return lambda: network.match(*photos)

    return {precision: run(precision) for precision in precisions}
