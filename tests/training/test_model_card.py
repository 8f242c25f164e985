"""What a run leaves behind: weights that load, and a page that says the truth about them."""

import re

import pytest
import torch


@pytest.fixture
def run(tiny_model, tiny_pairs, plain_objective, tmp_path):
    """A finished run whose second validation of three was the best."""

    def make(validated=True):
        from photoglue.training.config import TrainingConfig
        from photoglue.training.loop import Trainer
        from photoglue.training.progress import Hooks, Score

        scores = iter([0.1, 0.9, 0.5])

        def validate(model):
            score = next(scores)
            return Score(score=score, numbers={"precision": score / 2, "baseline_precision": 0.25})

        config = TrainingConfig(
            pairs=16, batch_size=4, learning_rate=1e-3, precision="float32", validate_every=8, log_every=4,
            workers=0,
        )  # fmt: skip
        hooks = Hooks(validate=validate if validated else None, tensorboard=False)
        trainer = Trainer(tiny_model(), tiny_pairs(), plain_objective, config, tmp_path, hooks=hooks)
        trainer.run()
        return trainer

    return make


@pytest.fixture
def facts():
    from photoglue.training.model_card import RunFacts

    return RunFacts(
        command="photoglue train homography",
        features="tiny",
        data=("12 photos of 'holiday'", "24 views"),
        data_licence="CC-BY-4.0, by Jane Doe",
        started_from="LightGlue for aliked (Apache-2.0)",
    )


@pytest.mark.slow
def test_the_best_weights_are_there_twice(run, facts, tmp_path):
    from photoglue.matchers.lightglue import LightGlue
    from photoglue.training.checkpoint import load_checkpoint
    from photoglue.training.model_card import write_results

    run()
    files = write_results(tmp_path, facts)
    assert all(path.is_file() for path in files)
    best = load_checkpoint(tmp_path / "best.pt")
    assert best.position.pairs == 8
    full = LightGlue.from_checkpoint(tmp_path / "model.safetensors", precision=None)
    half = LightGlue.from_checkpoint(tmp_path / "model-fp16.safetensors", precision=None)
    assert full.shape == half.shape == best.network
    assert full.shape.kinds == ("tiny",)
    for name, tensor in full.state_dict().items():
        assert torch.equal(tensor, best.model[name])
        assert torch.equal(half.state_dict()[name], tensor.half().float())
    assert (tmp_path / "model-fp16.safetensors").stat().st_size < 0.6 * (tmp_path / "model.safetensors").stat().st_size


@pytest.mark.slow
def test_the_card(run, facts, tmp_path):
    from photoglue import __version__
    from photoglue.training.model_card import write_results

    run()
    files = write_results(tmp_path, facts)
    text = (tmp_path / "model_card.md").read_text()
    assert text.startswith("# LightGlue for tiny\n")
    assert "after 8 of 16 pairs" in text
    for told in (*facts.data, facts.data_licence, facts.started_from, f"PhotoGlue {__version__}", torch.__version__):
        assert told in text
    assert "| learning_rate | 0.001 |" in text
    assert "|  | baseline | 0 pairs | 8 pairs | 16 pairs |" in text
    assert "| precision | 0.25 | 0.05 | 0.45 | 0.25 |" in text
    if tmp_path / "curves.png" in files:
        assert "![Curves](curves.png)" in text


@pytest.mark.slow
def test_the_code_in_the_card_runs(run, facts, tmp_path, monkeypatch):
    from photoglue.training.model_card import write_results

    run()
    write_results(tmp_path, facts)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "model_card.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(f"import photoglue\n{code}", {"__name__": "card"})


@pytest.mark.slow
def test_without_validation_the_last_weights_are_taken(run, facts, tmp_path):
    from photoglue.matchers.lightglue import LightGlue
    from photoglue.training.model_card import write_results

    trainer = run(validated=False)
    write_results(tmp_path, facts)
    model = LightGlue.from_checkpoint(tmp_path / "model.safetensors", precision=None)
    assert torch.equal(model.posenc.Wr.weight, trainer.model.posenc.Wr.weight)
    text = (tmp_path / "model_card.md").read_text()
    assert "no validation gave a score, after 16 of 16 pairs" in text
    assert "None was made." in text


@pytest.mark.slow
def test_without_matplotlib_there_is_no_picture(run, facts, tmp_path, monkeypatch):
    import sys

    from photoglue.training.model_card import write_results

    run()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_results(tmp_path, facts)
    assert not (tmp_path / "curves.png").exists()
    assert "curves.png" not in (tmp_path / "model_card.md").read_text()
