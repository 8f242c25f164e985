"""What every class here needs: a ``conf`` that may change at any time, and the official names of weights."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from photoglue.errors import ConfigError


def known(conf: Mapping[str, Any], allowed: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    """The options as they came.

    Raises:
        ConfigError: If one is not among those allowed; the message names the nearest that is.
    """
    for name in conf:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(allowed)}."
            raise ConfigError(f"{owner} has no option {name!r}.{hint}")
    return conf


def current(conf: Any, built: Mapping[str, Any], fixed: Sequence[str], owner: str) -> dict[str, Any]:
    """The options as they stand now; those that somebody removed are as they were built.

    Args:
        conf: The object's ``conf``, a namespace or a mapping.
        built: The options that the object was built with.
        fixed: Names of those that cannot change afterwards.
        owner: Name of the class, for messages.

    Raises:
        ConfigError: If an option does not exist, or one was changed that cannot change.
    """
    now = known(conf if isinstance(conf, Mapping) else vars(conf), built, owner)
    for name in fixed:
        if name in now and now[name] != built[name]:
            raise ConfigError(
                f"conf.{name} was set to {now[name]!r}, but this {owner} was built with {built[name]!r} and cannot "
                f"change it. Make a new one: {owner}(…, {name}={now[name]!r})."
            )
    return {**built, **now}


def number(options: Mapping[str, Any], name: str) -> float:
    """The option as a number.

    Raises:
        ConfigError: If it is none.
    """
    try:
        value = float(options[name])
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        raise ConfigError(f"{name} is {options[name]!r}; it must be a number.")
    return value


def number_or_off(options: Mapping[str, Any], name: str) -> float | None:
    """The option as a number, or None where the official code takes it as "off": None, 0 or less.

    Raises:
        ConfigError: If it is neither.
    """
    value = None if options[name] is None else number(options, name)
    return None if value is None or value <= 0 else value


def whole_or_off(options: Mapping[str, Any], name: str) -> int | None:
    """The option as a whole number, or None where the official code takes it as "off": None, 0 or less.

    Raises:
        ConfigError: If it is neither.
    """
    value = number_or_off(options, name)
    if value is not None and value != int(value):
        raise ConfigError(f"{name} is {options[name]!r}; it must be a whole number.")
    return None if value is None else int(value)


def use_official_names(module: nn.Module, ours: str, official: str) -> None:
    """Make ``state_dict`` and ``load_state_dict`` of a module speak of its weights by their official names.

    Args:
        module: The wrapper, whose attributes ``_ours`` and ``_official`` are set.
        ours: How the names of its weights begin here, such as ``"net."``.
        official: How they begin in the official package, such as ``""``.
    """
    module._ours, module._official = ours, official  # type: ignore[assignment]
    module.register_state_dict_post_hook(_to_official)  # type: ignore[no-untyped-call]
    module.register_load_state_dict_pre_hook(_from_official)  # type: ignore[no-untyped-call]


def _to_official(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    ours, official = prefix + module._ours, prefix + module._official
    for name in [name for name in state if name.startswith(ours)]:
        state[official + name.removeprefix(ours)] = state.pop(name)


def _from_official(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    ours, official = prefix + module._ours, prefix + module._official
    if any(name.startswith(ours) for name in state):
        return  # saved before there were official names
    came = {name.removeprefix(official): state.pop(name) for name in list(state) if name.startswith(official)}
    if came and hasattr(module, "_read_state"):
        came = module._read_state(came)
    state.update({ours + name: tensor for name, tensor in came.items()})
