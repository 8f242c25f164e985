"""Shape annotations, executed by beartype; the checks of a function are made when it is first called."""

from beartype import beartype


def checked(function):
    """For the hook of jaxtyping: making the checks of all functions while they are imported takes seconds a process."""
    made = None

    def check(*arguments, **named):
        nonlocal made
        if made is None:
            made = beartype(function)
        return made(*arguments, **named)

    return check
