"""Annotations, executed: shapes by jaxtyping and beartype, all others by beartype alone, made when first called.

The hook of jaxtyping wraps every function of the package, most of which have no array: binding the arguments of each
call, and making two checks of each function at its import, took a fifth of the time of the tests.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable

import jaxtyping
from beartype import beartype

_with_shapes = jaxtyping.jaxtyped


def install() -> None:
    """Let modules that the hook of jaxtyping imports from now on be checked like this."""
    jaxtyping.jaxtyped = jaxtyped


def jaxtyped(target=None, *, typechecker=beartype):
    """Stands in for ``jaxtyping.jaxtyped``, which the hook puts on every function and class."""
    if target is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if isinstance(target, type):
        made = vars(target).get("__init__")
        if dataclasses.is_dataclass(target) and isinstance(made, types.FunctionType):
            target.__init__ = jaxtyped(made, typechecker=typechecker)
        return target
    if isinstance(target, classmethod | staticmethod):
        return type(target)(jaxtyped(target.__func__, typechecker=typechecker))
    if isinstance(target, property):
        return property(*(f and jaxtyped(f, typechecker=typechecker) for f in (target.fget, target.fset, target.fdel)))
    if not any(map(has_shapes, target.__annotations__.values())):
        return _at_first_call(target, typechecker)
    return _at_first_call(target, functools.partial(_with_shapes, typechecker=typechecker))


def has_shapes(annotation) -> bool:
    """Whether an array with a shape occurs in an annotation; in a string it may, and jaxtyping bears it if that names
    what is imported for the types only."""
    if isinstance(annotation, str | typing.ForwardRef):
        return True
    if isinstance(annotation, list):  # the arguments of a Callable
        return any(map(has_shapes, annotation))
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return typing.get_origin(annotation) is not typing.Literal and any(map(has_shapes, typing.get_args(annotation)))


def _at_first_call(function: Callable, check: Callable) -> Callable:
    made = None

    @functools.wraps(function)
    def checked(*arguments, **named):
        nonlocal made
        if jaxtyping.config.jaxtyping_disable:
            return function(*arguments, **named)
        if made is None:
            made = check(function)
        return made(*arguments, **named)

    return checked
