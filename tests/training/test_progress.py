"""Hooks: whoever gives none hears nothing."""

from photoglue.training.progress import Hooks, Score


def test_hooks_that_are_not_given_do_nothing():
    hooks = Hooks()
    hooks.on_message("28 photos")
    hooks.on_extraction(1, 28)
    hooks.on_validation(0, Score(score=0.5, numbers={}))
    assert hooks.validate is None
    assert hooks.clock() <= hooks.clock()
