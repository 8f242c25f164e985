"""The whole way from photos to the loss, and that following it teaches something."""

import pytest
import torch

pytestmark = pytest.mark.slow  # all make their pairs of full-size views


@pytest.fixture(scope="module")
def sift_pairs(astronaut):
    """Four pairs of views of one photo, with SIFT points."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    import numpy as np

    from photoglue.extractors.sift import SIFT, SIFTConfig
    from photoglue.image import read_image
    from photoglue.training.pairs.base import HomographyPair

    photo = (read_image(astronaut).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    extractor = SIFT(SIFTConfig(max_keypoints=200))
    chance = np.random.default_rng(0)
    corners = np.float32([[0, 0], [320, 0], [320, 240], [0, 240]])

    def view():
        inside = np.float32([[100, 100], [420, 100], [420, 340], [100, 340]])
        patch_from_photo = cv2.getPerspectiveTransform(inside + chance.uniform(-60, 60, (4, 2)).astype("f4"), corners)
        patch = cv2.warpPerspective(photo, patch_from_photo, (320, 240))
        return extractor.extract(patch), patch_from_photo

    pairs = []
    for _ in range(4):
        (features0, transform0), (features1, transform1) = view(), view()
        image1_from_image0 = torch.from_numpy(transform1 @ np.linalg.inv(transform0))
        pairs.append(HomographyPair(features0=features0, features1=features1, image1_from_image0=image1_from_image0))
    return pairs


@pytest.fixture
def small():
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    torch.manual_seed(0)
    shape = LightGlueShape(input_dim=128, descriptor_dim=64, n_layers=3, num_heads=2, add_scale_ori=True)
    return LightGlue(shape=shape).train()


def empty_pair(pair, side):
    from dataclasses import replace

    return replace(pair, **{f"features{side}": getattr(pair, f"features{side}")[:0]})


def test_it_learns_four_pairs_by_heart(sift_pairs, small):
    """Within 40 steps the last layer's loss falls to less than a third, and most matches are right."""
    from photoglue.training.ground_truth import IGNORED, label
    from photoglue.training.objective import Objective

    objective = Objective()
    optimizer = torch.optim.AdamW(small.parameters(), lr=2e-3)
    history = []
    for _ in range(40):
        terms = objective(small, sift_pairs)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        history.append(terms)
    assert terms.matchable > 30
    assert terms.unmatchable > 30
    first, last = history[0], objective(small, sift_pairs)
    assert last.last < first.last / 3
    assert last.confidence < first.confidence
    assert last.positive < first.positive / 3
    small.eval()
    right = judged = 0
    for pair in sift_pairs:
        truth, matches = label(pair).matches0, small.match(pair.features0, pair.features1).matches0
        counted = (matches >= 0) & (truth != IGNORED)
        judged += int(counted.sum())
        right += int((matches == truth)[counted].sum())
    assert judged > 100
    assert right / judged > 0.7


def test_labels_are_those_of_the_ground_truth(sift_pairs, small):
    from photoglue.training.ground_truth import LabelRules, label
    from photoglue.training.losses import LossConfig, losses
    from photoglue.training.objective import Objective

    rules, config = LabelRules(positive_px=1.0), LossConfig(confidence=False)
    terms = Objective(config, rules)(small, sift_pairs)
    found = small.all_layers([(pair.features0, pair.features1) for pair in sift_pairs])
    expected = losses(found, [label(pair, rules) for pair in sift_pairs], config)
    torch.testing.assert_close(terms.total, expected.total)
    assert terms.confidence is None
    assert terms.matchable < Objective()(small, sift_pairs).matchable


def test_pairs_without_points_are_dropped_and_counted(sift_pairs, small):
    from photoglue.training.objective import Objective

    objective = Objective()
    holes = [empty_pair(sift_pairs[0], 0), sift_pairs[1], empty_pair(sift_pairs[2], 1), sift_pairs[3]]
    with_holes, without = objective(small, holes), objective(small, [sift_pairs[1], sift_pairs[3]])
    assert (with_holes.pairs, with_holes.dropped, without.dropped) == (2, 2, 0)
    torch.testing.assert_close(with_holes.total, without.total)


def test_a_batch_of_nothing(sift_pairs, small):
    from photoglue.training.objective import Objective

    terms = Objective()(small, [empty_pair(sift_pairs[0], 0)])
    assert (terms.pairs, terms.dropped, terms.total.item(), terms.last.item()) == (0, 1, 0, 0)
    assert not terms.total.requires_grad


def test_checkpointing_changes_nothing(sift_pairs, small):
    from photoglue.training.objective import Objective

    gradients = []
    for checkpointed in (False, True):
        small.zero_grad()
        Objective()(small, sift_pairs[:2], checkpointed=checkpointed).total.backward()
        gradients.append([parameter.grad for parameter in small.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_in_bfloat16_gradients_stay_close(sift_pairs, small):
    from photoglue.training.objective import Objective

    gradients = []
    for enabled in (False, True):
        small.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            terms = Objective()(small, sift_pairs[:2])
        terms.total.backward()
        assert terms.total.dtype == torch.float32
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in small.parameters()]))
    exact, half = gradients
    assert torch.nn.functional.cosine_similarity(exact, half, dim=0) > 0.99


def test_it_fits_the_training_loop():
    from photoglue.training import loop
    from photoglue.training.objective import Objective

    assert isinstance(Objective(), loop.Objective)


def test_what_readers_prepare_gives_the_same_loss_as_what_the_trainer_labels(sift_pairs, small):
    """Bit for bit, after the journey from one process to the other; in another order, up to rounding."""
    from dataclasses import replace

    from photoglue.training.batches import PackedPairs
    from photoglue.training.ground_truth import LabelRules
    from photoglue.training.objective import Example, Objective

    objective = Objective(rules=LabelRules(positive_px=2.0))
    pairs = [sift_pairs[0], replace(sift_pairs[1], features0=sift_pairs[1].features0[:50]), *sift_pairs[2:]]
    travelled = PackedPairs.pack([objective.prepare(pair, number) for number, pair in enumerate(pairs)]).unpack()
    assert all(isinstance(example, Example) for example in travelled)
    plain, prepared = objective(small, pairs), objective(small, travelled)
    assert torch.equal(plain.total, prepared.total)
    assert torch.equal(plain.nll, prepared.nll)
    assert (plain.matchable, plain.unmatchable) == (prepared.matchable, prepared.unmatchable)
    turned = objective(small, travelled[::-1])
    assert torch.allclose(plain.total, turned.total, rtol=1e-5)


def test_turned_pairs_keep_their_labels_and_are_the_same_for_the_same_number(sift_pairs):
    from photoglue.training.objective import Objective

    objective = Objective(turn=0.5)
    plain = Objective().prepare(sift_pairs[0], 0)
    examples = [objective.prepare(sift_pairs[0], number) for number in range(40)]
    moved = [
        [
            not torch.equal(getattr(one, side).keypoints, getattr(plain, side).keypoints)
            for side in ("features0", "features1")
        ]
        for one in examples
    ]
    assert {tuple(each) for each in moved} == {(False, False), (True, False), (False, True)}
    assert 10 < sum(map(any, moved)) < 30
    for example in examples:
        assert torch.equal(example.labels.matches0, plain.labels.matches0)
    again = objective.prepare(sift_pairs[0], 7)
    assert torch.equal(again.features0.keypoints, examples[7].features0.keypoints)
