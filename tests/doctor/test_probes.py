"""Pairs are made that fail for one reason, and the finding is read."""

import PIL.Image
import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.weights]


def test_turned(small_pair, first_finding):
    finding = first_finding(small_pair[0], small_pair[1].transpose(PIL.Image.Transpose.ROTATE_90))
    assert finding.cause == "turned"
    assert "it is turned by about 90° counterclockwise against the first" in finding.seen
    assert finding.command == "photoglue match first.jpg second.jpg --rotation always"


def test_scale(motorcycle, astronaut, first_finding):
    near, other = (PIL.Image.open(path).convert("RGB") for path in motorcycle)
    far = PIL.Image.open(astronaut).convert("RGB").resize((740, 500))
    far.paste(other.resize((114, 77), PIL.Image.Resampling.LANCZOS), (300, 200))
    finding = first_finding(far, near, resize=740, max_keypoints=1024)
    assert finding.cause == "scale"
    assert finding.evidence["near"] == 1
    assert finding.command.endswith("--zoom always")


def test_scale_that_can_be_measured():
    import numpy as np
    from doctor_cases import made_case, seen

    from photoglue.doctor.probes import scale

    points0, points1 = seen()
    finding = scale(made_case(np.array([300, 200]) + points0 / 4, points1))
    assert finding.cause == "scale"
    assert finding.evidence["near"] == 1
    assert finding.evidence["factor"] == pytest.approx(4, abs=0.3)


def test_tiny(small_pair, first_finding):
    finding = first_finding(*(photo.resize((64, 43)) for photo in small_pair), resize=1024)
    assert finding.cause == "tiny"
    assert finding.evidence["better_resize"] == 256
    assert finding.command.endswith("--resize 256")


def test_bold_exit(small_pair, first_finding):
    from photoglue import LightGlueConfig

    turned = small_pair[1].rotate(35, expand=True)  # by so much that it needs all layers
    finding = first_finding(small_pair[0], turned, config=LightGlueConfig(depth_confidence=0.01))
    assert finding.cause == "bold exit"
    assert finding.evidence["exit_layer"] == 1
    assert finding.command.endswith("--preset accurate")


def test_weights_that_were_never_trained(small_pair, first_finding, tmp_path):
    from photoglue import LightGlue, LightGlueShape

    shape = LightGlueShape(input_dim=128, descriptor_dim=64, n_layers=2, num_heads=1)
    LightGlue(shape=shape).save(tmp_path / "mine.safetensors")
    finding = first_finding(*small_pair, weights=str(tmp_path / "mine.safetensors"))
    assert finding.cause == "half-loaded weights"
    assert finding.evidence["matched_with_itself"] < 0.5


def test_weights_with_tensors_missing(small_pair, first_finding, tmp_path):
    from photoglue import LightGlue, LightGlueShape

    state = LightGlue(shape=LightGlueShape(input_dim=128, descriptor_dim=64, n_layers=2, num_heads=1)).state_dict()
    del state["transformers.1.self_attn.Wqkv.weight"]
    torch.save(state, tmp_path / "mine.pth")
    finding = first_finding(*small_pair, weights=str(tmp_path / "mine.pth"))
    assert finding.cause == "half-loaded weights"
    assert "transformers.1.self_attn.Wqkv.weight" in finding.seen


def test_rows_that_were_mixed_up(small_pair, first_finding):
    from dataclasses import replace

    from photoglue import create_extractor

    features = create_extractor("aliked", max_keypoints=512, resize=370).extract_many(small_pair)
    mixed = [replace(each, descriptors=each.descriptors[torch.randperm(len(each))]) for each in features]
    finding = first_finding(*small_pair, features0=mixed[0], features1=mixed[1])
    assert finding.cause == "wrong matcher"
    assert "something is wrong with the files" in finding.seen
    assert finding.command.startswith("photoglue extract ")
