"""Points and matches of two extractors as those of one."""

import dataclasses

import pytest
import torch
from tests.helpers.tiny_photos import Bright

from photoglue.errors import ConfigError, LicenceError
from photoglue.limits import joined_features, joined_matches, joined_probability
from photoglue.limits.joined import features_beside
from photoglue.limits.views import Masked, match_parts
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pipeline import Pipeline
from photoglue.structs import Features

IMAGES = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(3))


class Dark(Bright):
    """The darkest pixels, with descriptors of another width."""

    kind = "dark"
    descriptor_dim = 3

    def detect(self, images, masks=None):
        found = super().detect([1 - image for image in images], masks)
        wide = [torch.nn.functional.pad(each.descriptors, (0, 1)) for each in found]
        return [dataclasses.replace(each, descriptors=rows) for each, rows in zip(found, wide, strict=True)]


@pytest.fixture
def pipelines():
    return [Pipeline(extractor().eval(), NearestNeighbor()) for extractor in (Bright, Dark)]


def test_matches_of_both_join_the_points_of_both(pipelines):
    first, second = pipelines
    alone = [each.run(*IMAGES) for each in pipelines]
    both = Pipeline(first.extractor, first.matcher, also=second).run(*IMAGES)
    assert len(both.matches) == sum(len(each.matches) for each in alone) > 4
    for side in (0, 1):
        points = [getattr(each.matches, f"points{side}") for each in alone]
        assert torch.equal(getattr(both.matches, f"points{side}"), torch.cat(points))
        keypoints = getattr(both, f"features{side}").keypoints
        assert torch.equal(getattr(both.matches, f"keypoints{side}"), keypoints)
    assert torch.equal(both.matches.scores, torch.cat([each.matches.scores for each in alone]))
    turned = both.matches.indices[both.matches.indices[:, 1].argsort()]
    assert torch.equal(both.matches.matches1[turned[:, 1]], turned[:, 0])  # both ways agree
    assert both.features0.kind == "bright+dark" and both.features0.descriptors.shape[1] == 3
    many = Pipeline(first.extractor, first.matcher, also=second).match_many(list(IMAGES), [(0, 1), (1, 0)])
    assert torch.equal(many[0].indices, both.matches.indices) and len(many) == 2


def test_a_third_extractor_joins_the_second(pipelines):
    first, second = pipelines
    third = Pipeline(first.extractor, first.matcher)
    alone = [each.run(*IMAGES).matches for each in (first, second, third)]
    chain = Pipeline(first.extractor, first.matcher, also=Pipeline(second.extractor, second.matcher, also=third))
    joined = chain.run(*IMAGES)
    assert torch.equal(joined.matches.points1, torch.cat([each.points1 for each in alone]))
    assert joined.features0.kind == "bright+dark+bright" and len(joined.features1) == len(joined.matches.matches1)
    assert torch.equal(chain.match_many(list(IMAGES), [(0, 1)])[0].indices, joined.matches.indices)


@pytest.mark.parametrize(
    ("also", "wanted"),
    [
        (None, []),
        ("aliked", []),
        ("aliked-n16,disk,crop", ["disk", "crop"]),
        ("disk", ["disk"]),
        ("disk, sift", ["disk", "sift"]),
        (("disk", "f.py:X"), ["disk", "f.py:X"]),
    ],
)
def test_other_features_are_a_text_or_a_list(also, wanted):
    assert features_beside(also, "aliked") == wanted


@pytest.mark.parametrize("also", ["disk,disk", "aliked-n32,aliked-n32", "", "disk,", ["disk", "disk"]])
def test_features_are_named_once(also):
    with pytest.raises(ConfigError, match=r"also is .*; it must name other features, each once"):
        features_beside(also, "aliked")


@pytest.mark.weights
@pytest.mark.slow
def test_bad_names_in_a_list_are_told():
    with pytest.raises(ConfigError, match="dsk"):
        Pipeline.pretrained("aliked", also="disk,dsk")
    with pytest.raises(LicenceError, match=r"[Ss]uper[Pp]oint"):
        Pipeline.pretrained("aliked", also=["disk", "superpoint"])


@pytest.mark.parametrize(
    ("probabilities", "wanted"),
    [((None, None), None), ((0.3, None), 0.3), ((0.5, 0.8), 0.8), ((0.9, 0.2), 9 / 13), ((0.2, 0.2), 1 / 17)],
)
def test_odds_of_all_verdicts_are_multiplied(probabilities, wanted):
    assert joined_probability(*probabilities) == (wanted if wanted is None else pytest.approx(wanted))
    assert joined_probability(*reversed(probabilities)) == joined_probability(*probabilities)


def test_a_joined_verdict_is_never_quite_certain():
    assert 0.999999 < joined_probability(1.0, 1.0, 1.0) < 1
    assert 0 < joined_probability(0.0, 0.0) < 1e-6 and joined_probability(0.0, 1.0) == pytest.approx(0.5)


def test_the_verdict_is_that_of_both(pipelines, monkeypatch):
    first, second = pipelines
    monkeypatch.setattr(NearestNeighbor, "overlap_probability", lambda *_: 0.75)
    assert Pipeline(first.extractor, first.matcher, also=second).run(*IMAGES).overlap_probability == pytest.approx(0.9)


def test_points_of_the_first_tell_look_alikes(pipelines, monkeypatch):
    asked = []
    monkeypatch.setattr("photoglue.pipeline.partnered_share", lambda *given: asked.append(given))
    alone = pipelines[0].run(*IMAGES)
    dataclasses.replace(pipelines[0], also=pipelines[1]).run(*IMAGES, verify="homography", threshold_px=99.0)
    features0, _, matches, inliers = asked[0]
    assert torch.equal(features0.keypoints, alone.features0.keypoints)
    assert torch.equal(matches.points1, alone.matches.points1) and len(inliers) == len(matches)


def test_crops_join_what_was_found(pipelines, monkeypatch):
    first, second = pipelines
    boxes = (2, 1, 28, 19), (0, 0, 30, 20)
    guides = []

    def zoomed(photos, guide, tools):
        guides.append(guide.matches)
        return match_parts(photos, boxes, (26, 30), tools, 20), None

    monkeypatch.setattr("photoglue.limits.zoom.match_zoomed", zoomed)
    both = Pipeline(first.extractor, first.matcher, also=second)
    closer = dataclasses.replace(both, closer=True)
    before, after = both.run(*IMAGES), closer.run(*IMAGES)
    crops = match_parts(tuple(map(Masked.of, IMAGES)), boxes, (26, 30), (first.extractor, first.matcher), 20).matches
    assert len(crops) > 0 and torch.equal(guides[0].points0, before.matches.points0)
    assert torch.equal(after.matches.points1, torch.cat([before.matches.points1, crops.points1]))
    assert torch.equal(after.features0.keypoints, after.matches.keypoints0) and "crop" in after.seconds
    assert torch.equal(closer.match_many(list(IMAGES), [(0, 1)])[0].points1, after.matches.points1)
    refined = dataclasses.replace(closer, refine="subpixel").run(*IMAGES)
    assert refined.matches.refine == "subpixel" and len(refined.matches) == len(after.matches)
    monkeypatch.setattr("photoglue.limits.zoom.match_zoomed", lambda *_: None)
    assert torch.equal(closer.run(*IMAGES).matches.indices, before.matches.indices)


@pytest.mark.weights
@pytest.mark.slow
def test_crop_is_a_name_among_features():
    pipeline = Pipeline.pretrained("aliked", also="disk,crop", max_keypoints=10)
    assert pipeline.closer and pipeline.also is not None and not pipeline.also.closer
    alone = Pipeline.pretrained("aliked", also="crop", max_keypoints=10)
    assert alone.closer and alone.also is None


def test_a_mask_holds_for_both(pipelines):
    first, second = pipelines
    mask = torch.ones(20, 30, dtype=torch.bool)
    mask[:, 12:] = False
    both = Pipeline(first.extractor, first.matcher, also=second).run(*IMAGES, mask0=mask)
    assert both.features0.keypoints[:, 0].max() < 12 <= both.features1.keypoints[:, 0].max()


def test_what_only_one_has_is_left_out():
    points = torch.zeros(2, 2)
    plain = Features(keypoints=points, descriptors=torch.ones(2, 4), scores=torch.ones(2), image_size=(9, 9), kind="a")
    sized = dataclasses.replace(plain, scales=torch.ones(2), orientations=torch.ones(2), kind="b")
    assert joined_features(sized, plain).scales is None and joined_features(plain, sized).kind == "a+b"
    assert len(joined_features(sized, sized).orientations) == 4
    matches = NearestNeighbor().match(plain, plain)
    pruned = dataclasses.replace(matches, prune0=torch.tensor([1, 2]), prune1=torch.tensor([3, 4]))
    assert joined_matches(matches, pruned).prune0 is None
    assert joined_matches(pruned, pruned).prune1.tolist() == [3, 4, 3, 4]
    none = dataclasses.replace(matches, matches0=torch.tensor([-1, -1]), matches1=torch.tensor([-1, -1]))
    assert len(joined_matches(none, none)) == 0


@pytest.mark.weights
@pytest.mark.slow
def test_the_other_extractor_treats_transparent_parts_alike():
    pipeline = Pipeline.pretrained("aliked", also="disk", ignore_alpha=True, max_keypoints=10)
    assert pipeline.also is not None and pipeline.also.extractor.config.ignore_alpha
    assert pipeline.also.extractor.config.max_keypoints == 10 and pipeline.also.extractor.config.resize == 1024
