"""The implementations that are compared, all as functions from two Features to matched index pairs.

All have the same weights, the released ALIKED LightGlue, and get the same features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from peers import official
from torch import Tensor

from photoglue import Features, LightGlue, LightGlueConfig, Matches
from photoglue.matchers.lightglue import pretrained
from photoglue.native.library import int16_supported
from photoglue.precision import Precision
from photoglue.weights import resolve

OFF: dict[str, Any] = {"depth_confidence": -1.0, "width_confidence": -1.0}  # floats: transformers refuses whole numbers
MODES: dict[str, dict[str, Any]] = {"full": OFF, "adaptive": {}}
PRECISIONS: dict[str, Precision] = {"ours float32": "float32", "ours bfloat16": "bfloat16"}
ON_GPUS = tuple(PRECISIONS)
if int16_supported():
    PRECISIONS["ours int16"] = "int16"
OURS = tuple(PRECISIONS)
PEERS = ("official", "kornia", "transformers")


@dataclass(frozen=True)
class Contestant:
    """One implementation in one mode."""

    name: str
    match: Callable[[Features, Features], Tensor]
    """Matched pairs of indices, k × 2."""
    matcher: LightGlue | None = None
    """If it is ours, for batches and for what was done at which layer."""


def contestant(name: str, mode: str) -> Contestant:
    """One of them, with its weights loaded.

    Raises:
        ImportError: If its package is not installed.
        ValueError: If what it computes with these weights cannot be what was published.
    """
    if name in OURS:
        matcher = LightGlue.pretrained("aliked", our_config(mode), precision=PRECISIONS[name])
        return Contestant(name, lambda a, b: matcher.match(a, b).indices, matcher)
    build = {"official": _official, "kornia": _kornia, "transformers": _transformers}[name]
    return Contestant(name, build(mode))


def our_config(mode: str) -> LightGlueConfig:
    """Our network's options for a mode."""
    return LightGlueConfig.accurate() if MODES[mode] else LightGlueConfig()


def as_official(features: Features) -> dict[str, Tensor]:
    """A batch of one, as the official code and kornia take it."""
    return {
        "keypoints": features.keypoints[None],
        "descriptors": features.descriptors[None],
        "image_size": torch.tensor([features.image_size], dtype=torch.float32, device=features.keypoints.device),
    }


def overlap(found: set[tuple[int, ...]], official: set[tuple[int, ...]] | None) -> float | None:
    """Matches that both have, as a share of those that either has."""
    if official is None:
        return None
    return len(found & official) / max(len(found | official), 1)


def weights() -> dict[str, Tensor]:
    """The released tensors under the network's names."""
    return pretrained.released("aliked").state


def survivors(matches: Matches) -> list[tuple[int, int]]:
    """For each layer that ran, how many points of either image went into it."""
    assert matches.stop is not None
    assert matches.prune0 is not None
    assert matches.prune1 is not None
    layers = range(1, matches.stop + 1)
    return [(int((matches.prune0 >= layer).sum()), int((matches.prune1 >= layer).sum())) for layer in layers]


def _official(mode: str) -> Callable[[Features, Features], Tensor]:
    return _of_dicts(official().LightGlue("aliked", **MODES[mode]).eval())


def _kornia(mode: str) -> Callable[[Features, Features], Tensor]:
    """Kornia downloads its weights when constructed: it gets the same tensors from the file instead."""
    from kornia.feature import lightglue

    file = resolve(pretrained.WEIGHTS["aliked"])
    local = mock.Mock(side_effect=lambda *_, **__: torch.load(file, map_location="cpu", weights_only=True))
    flash = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    with mock.patch.object(lightglue, "load_state_dict_from_url", local):
        model = lightglue.LightGlue("aliked", **MODES[mode]).eval()
    torch.backends.cuda.enable_flash_sdp(flash)  # a global switch, which kornia sets
    if local.call_count != 1:
        raise ValueError("kornia loaded no weights in the expected way")
    return _of_dicts(model)


def _of_dicts(model: torch.nn.Module) -> Callable[[Features, Features], Tensor]:
    @torch.inference_mode()
    def match(features0: Features, features1: Features) -> Tensor:
        matches: Tensor = model({"image0": as_official(features0), "image1": as_official(features1)})["matches"][0]
        return matches

    return match


def _transformers(mode: str) -> Callable[[Features, Features], Tensor]:
    """Its public interface takes images only and detects SuperPoint; its matching half is called here, with its mask.

    It must have as many points in both images, or be given padding; here, both images have equally many.
    """
    from transformers import LightGlueConfig as TheirConfig
    from transformers import LightGlueForKeypointMatching, SuperPointConfig

    detector = SuperPointConfig(descriptor_decoder_dim=128)
    config = TheirConfig(keypoint_detector_config=detector, **MODES[mode])
    model = LightGlueForKeypointMatching(config).eval()  # type: ignore[no-untyped-call]
    missing, unexpected = model.load_state_dict(_as_transformers(weights()), strict=False)
    if unexpected or any(not name.startswith("keypoint_detector.") for name in missing):
        raise ValueError("transformers' LightGlue has other tensors than expected")

    @torch.inference_mode()
    def match(features0: Features, features1: Features) -> Tensor:
        if len(features0) != len(features1) or features0.image_size != features1.image_size:
            raise ValueError("transformers takes only images of one size with equally many points")
        width, height = features0.image_size
        keypoints = torch.stack([features0.keypoints, features1.keypoints])[None]
        descriptors = torch.stack([features0.descriptors, features1.descriptors])[None]
        mask = torch.ones(keypoints.shape[:3], dtype=torch.int)
        matches = model._match_image_pair(keypoints, descriptors, height, width, mask=mask)[0]
        partner = matches.reshape(2, -1)[0].long()
        rows = torch.nonzero(partner >= 0).flatten()
        return torch.stack([rows, partner[rows]], dim=1)

    return match


def _as_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under transformers' names; its projections to query, key and value are apart."""
    renamed: dict[str, Any] = {}
    parts = {
        "transformers.": "transformer_layers.",
        "log_assignment.": "match_assignment_layers.",
        "posenc.Wr.": "positional_encoder.projector.",
        "input_proj.": "input_projection.",
        "final_proj.": "final_projection.",
        ".token.0.": ".token.",
        "self_attn.ffn.": "self_mlp.",
        "cross_attn.ffn.": "cross_mlp.",
        "self_attn.": "self_attention.",
        "cross_attn.": "cross_attention.",
        "mlp.0.": "mlp.fc1.",
        "mlp.1.": "mlp.layer_norm.",
        "mlp.3.": "mlp.fc2.",
        ".out_proj.": ".o_proj.",
        ".to_out.": ".o_proj.",
        ".to_v.": ".v_proj.",
    }
    for name, tensor in state.items():
        for old, new in parts.items():
            name = name.replace(old, new)  # noqa: PLW2901
        if ".Wqkv." in name:
            # Interleaved: channel = (head and its channel, q | k | v).
            for i, letter in enumerate("qkv"):
                renamed[name.replace(".Wqkv.", f".{letter}_proj.")] = tensor[i::3].clone()
        elif ".to_qk." in name:
            renamed[name.replace(".to_qk.", ".q_proj.")] = tensor
            renamed[name.replace(".to_qk.", ".k_proj.")] = tensor
        else:
            renamed[name] = tensor
    return renamed
