import json

import numpy as np
import pytest

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def features(small_pair):
    from photoglue import create_extractor

    return create_extractor("aliked", max_keypoints=512, resize=370).extract_many(small_pair)


@pytest.fixture
def written(features, tmp_path):
    """Features as .npz files, changed."""

    def write(**changes):
        paths = []
        for number, each in enumerate(features):
            arrays = {"keypoints": each.keypoints.numpy(), "descriptors": each.descriptors.numpy()}
            arrays |= {"image_size": np.array(each.image_size), "kind": each.kind}
            arrays |= {name: change(arrays) for name, change in changes.items()}
            paths.append(tmp_path / f"{number}.npz")
            np.savez(paths[-1], **{name: value for name, value in arrays.items() if value is not None})
        return {"features0": paths[0], "features1": paths[1]}

    return write


@pytest.mark.slow
def test_healthy_pair(small_pair, diagnosed, written):
    from photoglue.files import to_json

    found = diagnosed(*small_pair)
    assert (found.findings, found.probes) == ((), ())
    assert found.matches > 200
    assert found.inliers > 200
    assert found.overlap_probability > 0.99
    assert json.loads(to_json(found))["findings"] == []
    assert diagnosed(*small_pair, **written()).findings == ()
    assert diagnosed(*small_pair, **written(kind=lambda arrays: None)).findings == ()


@pytest.mark.slow
def test_different_things(small_pair, astronaut, diagnosed):
    found = diagnosed(small_pair[0], astronaut)
    assert [finding.cause for finding in found.findings] == ["no overlap"]
    assert {"quarter turns", "other sizes"} <= set(found.probes)


@pytest.mark.slow
def test_faults_of_files_are_told(small_pair, diagnosed, written):
    files = written(keypoints=lambda arrays: arrays["keypoints"] / arrays["image_size"])
    found = diagnosed(*small_pair, **files)
    assert [finding.cause for finding in found.findings] == ["coordinates"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"kind": lambda arrays: "disk"}, {"features": "aliked"}, "The features are disk .128 channels. and disk"),
        ({"descriptors": lambda arrays: arrays["descriptors"][:, :64]}, {}, "aliked-n16 .64 channels."),
    ],
)
def test_features_of_another_matcher(small_pair, diagnosed, written, changes, options, message):
    import re

    (finding,) = diagnosed(*small_pair, **written(**changes), **options).findings[:1]
    assert finding.cause == "wrong matcher"
    assert re.search(message, finding.seen)


@pytest.mark.slow
def test_features_that_do_not_say_what_made_them(small_pair, diagnosed, written):
    (finding,) = diagnosed(*small_pair, **written(kind=lambda arrays: None), features="disk").findings
    assert finding.cause == "wrong matcher"
    assert finding.evidence["recognized"] == "aliked"
    assert finding.command == "photoglue match first.jpg second.jpg"


def test_weights_that_cannot_be_had(small_pair, diagnosed, monkeypatch):
    from photoglue.errors import WeightsError
    from photoglue.pipeline import Pipeline

    def unreachable(*_, **__):
        raise WeightsError("They are not here.")

    monkeypatch.setattr(Pipeline, "pretrained", unreachable)
    (finding,) = diagnosed(*small_pair).findings
    assert (finding.cause, finding.seen) == ("installation", "They are not here.")
    assert finding.command == "photoglue weights fetch"


def test_what_makes_no_sense(small_pair, diagnosed, written):
    from photoglue.errors import ConfigError, LicenceError

    files = written()
    with pytest.raises(ConfigError, match="There are features of one photo only"):
        diagnosed(*small_pair, features0=files["features0"])
    with pytest.raises(ConfigError, match="There is a camera of the second photo, but none of the first"):
        diagnosed(*small_pair, camera1="1,1,1,1")
    with pytest.raises(LicenceError):
        diagnosed(*small_pair, features="superpoint")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (None, "aliked"),
        ("aliked-n16", "aliked"),
        ("sift-opencv", "sift"),
        ("x", "aliked"),
    ],
)
def test_names_of_kinds(kind, name):
    from photoglue.doctor.diagnose import name_of_kind

    assert name_of_kind(kind) == name
