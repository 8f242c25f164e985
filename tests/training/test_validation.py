"""Precision and recall by hand; the whole validation on pairs whose answer is known."""

import math
from dataclasses import replace

import pytest
import torch


def features_at(points, seed=0, dim=16, descriptors=None, size=(320, 240)):
    from photoglue.structs import Features

    points = torch.as_tensor(points, dtype=torch.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = torch.randn(len(points), dim, generator=torch.Generator().manual_seed(seed))
    return Features(
        keypoints=points,
        descriptors=torch.nn.functional.normalize(descriptors, dim=1),
        scores=torch.ones(len(points)),
        image_size=size,
        kind="tiny",
    )


def matches_of(partners, scores, n):
    """Matches of image 0's points, by their number in image 1."""
    from photoglue.structs import Matches

    matches0, scores0 = torch.tensor(partners), torch.tensor(scores, dtype=torch.float32)
    matches1, scores1 = torch.full((n,), -1), torch.zeros(n)
    for i, j in enumerate(partners):
        if j >= 0:
            matches1[j], scores1[j] = i, scores[i]
    return Matches(
        matches0=matches0,
        matches1=matches1,
        matching_scores0=scores0,
        matching_scores1=scores1,
        keypoints0=torch.zeros(len(partners), 2),
        keypoints1=torch.zeros(n, 2),
    )


def truth_of(partners, n):
    from photoglue.training.ground_truth import Labels

    matches1 = torch.full((n,), -1)
    for i, j in enumerate(partners):
        if j >= 0:
            matches1[j] = i
    return Labels(matches0=torch.tensor(partners), matches1=matches1)


def test_precision_and_recall_by_hand():
    """Five matches proposed; point 4 is ignored, point 3 below the threshold: 0 and 1 right, 2 wrong. Of the four true
    matches, two are found; with point 3 it would be three."""
    from photoglue.training.validation import judged

    truth = truth_of([0, 1, -1, 3, -2, 5], 6)
    matches = matches_of([0, 1, 2, 3, 4, -1], [0.9, 0.4, 0.6, 0.05, 0.8, 0.0], 6)
    precision, recall, average = judged(matches, truth, 0.1)
    assert precision == pytest.approx(2 / 3)
    assert recall == pytest.approx(2 / 4)
    # In the order of scores: right, wrong, right, right; each right one adds a quarter of recall.
    assert average == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 4)


def test_a_match_at_the_threshold_does_not_count():
    """As when matching: only scores above it do."""
    from photoglue.training.validation import judged

    precision, recall, average = judged(matches_of([0], [0.1], 1), truth_of([0], 1), float(torch.tensor(0.1)))
    assert math.isnan(precision)
    assert (recall, average) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("partners", "truth", "expected"),
    [
        ([-1, -1], [0, 1], (None, 0.0, 0.0)),  # nothing found
        ([0, 1], [-1, -1], (0.0, None, None)),  # nothing to be found
        ([-1, -1], [-1, -1], (None, None, None)),
        ([0, 1], [-2, -2], (None, None, None)),  # nothing can be judged
        ([1, 0], [0, 1], (0.0, 0.0, 0.0)),  # all wrong
        ([0, 1], [0, 1], (1.0, 1.0, 1.0)),
    ],
)
def test_nothing_to_divide_by(partners, truth, expected):
    from photoglue.training.validation import judged

    scores = [0.5 if j >= 0 else 0.0 for j in partners]
    found = judged(matches_of(partners, scores, 2), truth_of(truth, 2), 0.1)
    assert tuple(None if math.isnan(value) else value for value in found) == expected


@pytest.fixture
def pairs():
    """Two of points moved 10 px to the right, whose descriptors are alike; the second has two points that are not."""
    from photoglue.training.pairs.base import HomographyPair

    chance = torch.Generator().manual_seed(5)
    shift = torch.eye(3, dtype=torch.float64)
    shift[0, 2] = 10
    made = []
    for strangers in (0, 2):
        points = torch.rand(12, 2, generator=chance) * 200
        moved = points + torch.tensor([10.0, 0.0])
        moved[:strangers] = torch.tensor([[300.0, 230.0], [310.0, 230.0]])[:strangers]
        descriptors = torch.randn(12, 16, generator=chance)
        other = descriptors + 0.05 * torch.randn(12, 16, generator=chance)
        made.append(
            HomographyPair(
                features0=features_at(points, descriptors=descriptors),
                features1=features_at(moved, descriptors=other),
                image1_from_image0=shift,
            )
        )
    return made


def posed_pair(matching=True):
    """Points in general position, seen by two cameras exactly."""
    from photoglue.geometry.camera import PinholeCamera
    from photoglue.training.pairs.base import PosedPair

    chance = torch.Generator().manual_seed(7)
    camera = PinholeCamera(fx=300.0, fy=300.0, cx=160.0, cy=120.0, image_size=(320, 240))
    xyz = torch.rand(60, 3, generator=chance, dtype=torch.float64) * torch.tensor([2.0, 1.5, 3.0]) + torch.tensor(
        [-1.0, -0.75, 4.0]
    )
    angle = 0.1
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 0] = pose[2, 2] = math.cos(angle)
    pose[0, 2], pose[2, 0] = math.sin(angle), -math.sin(angle)
    pose[:3, 3] = torch.tensor([-0.5, 0.1, 0.0])
    moved = xyz @ pose[:3, :3].T + pose[:3, 3]
    descriptors = torch.randn(60, 16, generator=chance)
    images = [p[:, :2] / p[:, 2:] * 300 + torch.tensor([160.0, 120.0], dtype=torch.float64) for p in (xyz, moved)]
    other = descriptors if matching else descriptors.flip(0)
    return PosedPair(
        features0=features_at(images[0], descriptors=descriptors),
        features1=features_at(images[1], descriptors=other),
        depths0=xyz[:, 2].float(),
        depths1=moved[:, 2].float(),
        camera0=camera,
        camera1=camera,
        cam1_from_cam0=pose,
    )


def test_the_baseline_on_known_pairs(pairs):
    """Mutual nearest neighbours pair all alike descriptors: also the two strangers, wrongly."""
    from photoglue.training.validation import Validation

    quality = Validation(pairs).baseline
    assert quality.precision == pytest.approx((12 / 12 + 10 / 12) / 2)
    assert quality.recall == 1.0
    assert quality.pose_auc is None
    assert quality.f1 == pytest.approx(2 / (1 / quality.precision + 1))


@pytest.mark.slow
def test_poses(pairs):
    pytest.importorskip("poselib", exc_type=ImportError)
    from photoglue.training.validation import Validation

    right = Validation([posed_pair()]).baseline
    assert right.pose_auc[0] > 0.95
    assert right.recall == 1.0
    mixed = Validation([*pairs, posed_pair(), posed_pair(matching=False)]).baseline
    assert mixed.pose_auc[2] == pytest.approx(right.pose_auc[2] / 2, abs=0.05)


def test_poses_are_found_without_distortion():
    pytest.importorskip("poselib", exc_type=ImportError)
    from photoglue.training.validation import Validation

    pair = posed_pair()
    straight = pair.features0.keypoints
    bent = replace(pair, features0=replace(pair.features0, keypoints=straight**1.05), straight0=straight)
    assert Validation([bent]).baseline.pose_auc[0] > 0.95
    assert Validation([replace(bent, straight0=None)]).baseline.pose_auc[0] < 0.5


def test_a_model_is_measured_as_it_matches(pairs, tiny_model):
    """Against its own matches, judged here one by one; and it comes back as it was."""
    from dataclasses import replace

    from photoglue.training.ground_truth import label
    from photoglue.training.objective import Objective
    from photoglue.training.validation import Validation

    model = tiny_model(n_layers=3, filter_threshold=0.3).train()
    config = model.config
    # So that an untrained network proposes matches at all.
    for head in model.log_assignment:
        head.matchability.bias.data.fill_(6.0)
        head.final_proj.weight.data.mul_(8)
    found = Validation(pairs)(model)
    assert (model.training, model.config, model.precision) == (True, config, None)

    model.eval().prepare("auto")
    model.config = replace(config, depth_confidence=None, width_confidence=None, filter_threshold=0.1)
    each = []
    for pair in pairs:
        truth, matches = label(pair).matches0, model.match(pair.features0, pair.features1).matches0
        proposed = (matches >= 0) & (truth >= -1)
        right = ((matches == truth) & proposed).sum()
        each.append((float(right / proposed.sum()), float(right / (truth >= 0).sum())))
    assert found.matcher.precision == pytest.approx(sum(precision for precision, _ in each) / 2)
    assert found.matcher.recall == pytest.approx(sum(recall for _, recall in each) / 2)
    assert 0 < found.matcher.recall <= 1

    with torch.no_grad():
        terms = Objective()(model, pairs)
    assert found.last_layer_loss == pytest.approx(float(terms.last), rel=0.02)
    assert found.confidence_loss == pytest.approx(float(terms.confidence), rel=0.05)


@pytest.mark.parametrize(("bias", "exit_layer"), [(20.0, 1.0), (-20.0, 3.0)])
def test_exit_layers(pairs, tiny_model, bias, exit_layer):
    """Sure of everything, pairs leave after the first layer; sure of nothing, after the last, which is full depth."""
    from photoglue.training.validation import Validation

    model = tiny_model(n_layers=3)
    for head in model.log_assignment:
        head.matchability.bias.data.fill_(6.0)
        head.final_proj.weight.data.mul_(8)
    for head in model.token_confidence:
        head.token[0].bias.data.fill_(bias)
    found = Validation(pairs)(model)
    assert found.exit_layer == exit_layer
    if exit_layer == 3:
        assert found.exit_agreement == 1.0
    else:
        assert 0 <= found.exit_agreement < 1


def test_validating_again_sees_new_weights(pairs, tiny_model):
    """Also of a model that is never in training mode, such as a running average."""
    from photoglue.training.validation import Validation

    model = tiny_model().eval()
    model.prepare("auto")
    validation = Validation(pairs)
    before = validation(model)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    for head in model.log_assignment:
        head.matchability.bias.data.fill_(6.0)
        head.final_proj.weight.data.mul_(8)
    after = validation(model)
    model.load_state_dict(model.state_dict())
    fresh = validation(model)
    assert after == fresh
    assert after.matcher != before.matcher


def test_numbers_for_the_loop(pairs, tiny_model):
    from photoglue.training.validation import Validation

    pytest.importorskip("poselib", exc_type=ImportError)
    found = Validation([*pairs, posed_pair()])(tiny_model())
    score = found.score()
    assert score.score == found.matcher.f1 == 0  # it has learned nothing yet
    assert score.numbers["baseline_recall"] == 1.0
    assert score.numbers["baseline_pose_auc_5"] > 0.95
    assert {"precision", "recall", "average_precision", "exit_layer", "exit_agreement", "last_layer_loss"} <= set(
        score.numbers
    )


def test_pairs_without_points(pairs, tiny_model):
    from dataclasses import replace

    from photoglue.training.validation import Validation

    empty = replace(pairs[0], features1=pairs[0].features1[:0])
    found = Validation([empty, pairs[1]])(tiny_model())
    assert math.isfinite(found.last_layer_loss)
    assert found.last_layer_loss == pytest.approx(Validation([pairs[1]])(tiny_model()).last_layer_loss)
    alone = Validation([empty])(tiny_model())
    assert math.isnan(alone.last_layer_loss)
    assert alone.confidence_loss is None
