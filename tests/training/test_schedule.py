"""The learning rate at moments whose value is known by hand."""

import pytest


def make(**changes):
    from photoglue.training.config import TrainingConfig

    return TrainingConfig(**{"pairs": 1000, "learning_rate": 1.0, "warmup_steps": 0, **changes})


def test_progress_by_pairs_and_by_time():
    from photoglue.training.schedule import progress

    assert progress(make(), 250, 1e9) == 0.25
    assert progress(make(), 2000, 0.0) == 1
    by_time = make(pairs=None, hours=2.0)
    assert progress(by_time, 10**9, 1800.0) == 0.25
    assert progress(by_time, 0, 7200.0) == 1
    assert progress(by_time, 0, 99999.0) == 1


def test_warm_up_is_linear_and_reaches_the_full_rate():
    from photoglue.training.schedule import learning_rate

    config = make(schedule="constant", warmup_steps=4)
    assert [learning_rate(config, step, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert learning_rate(make(schedule="constant"), 0, 0.0) == 1


def test_cosine():
    from photoglue.training.schedule import learning_rate

    config = make(schedule="cosine", final_share=0.01)
    assert learning_rate(config, 0, 0.0) == 1
    assert learning_rate(config, 0, 0.5) == pytest.approx(0.505)
    assert learning_rate(config, 0, 1.0) == pytest.approx(0.01)
    late = make(schedule="cosine", final_share=0.01, decay_from=0.8)
    assert learning_rate(late, 0, 0.8) == 1
    assert learning_rate(late, 0, 0.9) == pytest.approx(0.505)


def test_exponential_is_the_official_one():
    """Stage 1: 40 epochs, times 10^(-1/10) for each epoch after the 20th, hence 1e-4 to 1e-6."""
    from photoglue.training.schedule import learning_rate

    config = make(learning_rate=1e-4, schedule="exponential", decay_from=0.5, final_share=0.01)
    for epoch in (0, 10, 20, 21, 30, 39, 40):
        official = 1e-4 * 10 ** (-max(0, epoch - 20) / 10)
        assert learning_rate(config, 0, epoch / 40) == pytest.approx(official)


def test_warm_up_and_decay_multiply():
    from photoglue.training.schedule import learning_rate

    config = make(schedule="cosine", final_share=0.01, warmup_steps=10)
    assert learning_rate(config, 4, 0.05) == pytest.approx(0.5 * learning_rate(make(schedule="cosine"), 4, 0.05))


def test_warm_up_ends_after_a_tenth_of_a_short_run():
    from photoglue.training.schedule import learning_rate

    config = make(schedule="constant", warmup_steps=100)
    assert [learning_rate(config, step, step / 50) for step in (0, 1, 4, 5, 6)] == pytest.approx([0.01, 0.2, 0.8, 1, 1])
    assert learning_rate(config, 49, 0.001) == 0.5
