"""Scripts as people write them for the official package, in our words, run on both: only the imports differ.

What they call, and in which order, is that of the official README and demo, of hloc's and vismatch's wrappers, and of
scripts found in public that set options after construction.
"""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.weights


def modules(name):
    """What a script imports from the package of that name."""
    top = importlib.import_module(name)
    return SimpleNamespace(
        ALIKED=top.ALIKED,
        DISK=top.DISK,
        LightGlue=top.LightGlue,
        match_pair=top.match_pair,
        utils=importlib.import_module(f"{name}.utils"),
        viz2d=importlib.import_module(f"{name}.viz2d"),
    )


@pytest.fixture(scope="module")
def theirs(official):
    return modules(official.__name__)


@pytest.fixture(scope="module")
def ours():
    return modules("photoglue.compat")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def share_near(points, others, px=0.1):
    """Which share of the rows of ``points`` (x, y of both photos) are among ``others``."""
    distances = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
    return float((distances.amin(dim=1) < px).float().mean())


def readme(lightglue, paths):
    extractor = lightglue.ALIKED(max_num_keypoints=256).eval().to("cpu")
    matcher = lightglue.LightGlue(features="aliked").eval().to("cpu")
    image0, image1 = (lightglue.utils.load_image(path, resize=384) for path in paths)
    feats0 = extractor.extract(image0)
    feats1 = extractor.extract(image1)
    matches01 = matcher({"image0": feats0, "image1": feats1})
    feats0, feats1, matches01 = [lightglue.utils.rbd(x) for x in [feats0, feats1, matches01]]
    matches = matches01["matches"]
    points = torch.cat([feats0["keypoints"][matches[..., 0]], feats1["keypoints"][matches[..., 1]]], dim=1)
    again = lightglue.match_pair(extractor, matcher, image0, image1)
    assert torch.equal(again[2]["matches"], matches)
    return points, matches01["stop"]


@pytest.mark.slow
def test_readme(ours, theirs, motorcycle):
    (found, stop), (expected, expected_stop) = readme(ours, motorcycle), readme(theirs, motorcycle)
    assert stop == expected_stop
    assert len(expected) > 100
    assert share_near(expected, found) > 0.95
    assert share_near(found, expected) > 0.95


def demo(lightglue, paths):
    """The notebook: an easy pair, pictures of its matches and of what was pruned."""
    plt = importlib.import_module("matplotlib.pyplot")
    plt.switch_backend("Agg")
    viz2d, load_image, rbd = lightglue.viz2d, lightglue.utils.load_image, lightglue.utils.rbd
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    extractor = lightglue.ALIKED(max_num_keypoints=256).eval().to(device)
    matcher = lightglue.LightGlue(features="aliked").eval().to(device)
    image0, image1 = (load_image(path, resize=384) for path in paths)
    feats0 = extractor.extract(image0.to(device))
    feats1 = extractor.extract(image1.to(device))
    matches01 = matcher({"image0": feats0, "image1": feats1})
    feats0, feats1, matches01 = [rbd(x) for x in [feats0, feats1, matches01]]
    kpts0, kpts1, matches = feats0["keypoints"], feats1["keypoints"], matches01["matches"]
    m_kpts0, m_kpts1 = kpts0[matches[..., 0]], kpts1[matches[..., 1]]

    viz2d.plot_images([image0, image1])
    viz2d.plot_matches(m_kpts0, m_kpts1, color="lime", lw=0.2)
    viz2d.add_text(0, f"Stop after {matches01['stop']} layers", fs=20)
    first = plt.gcf()
    kpc0, kpc1 = viz2d.cm_prune(matches01["prune0"]), viz2d.cm_prune(matches01["prune1"])
    viz2d.plot_images([image0, image1])
    viz2d.plot_keypoints([kpts0, kpts1], colors=[kpc0, kpc1], ps=10)
    second = plt.gcf()
    try:
        return {
            "lines": len(first.artists),
            "text": first.axes[0].texts[0].get_text(),
            "points": [[len(c.get_offsets()) for c in axes.collections] for axes in second.axes],
            "blue": [float((c.get_facecolor()[:, 2] == 1).mean()) for axes in second.axes for c in axes.collections],
        }
    finally:
        plt.close("all")


@pytest.mark.slow
def test_demo(ours, theirs, motorcycle):
    found, expected = demo(ours, motorcycle), demo(theirs, motorcycle)
    assert found["text"] == expected["text"]
    assert found["points"] == expected["points"]
    assert found["lines"] == pytest.approx(expected["lines"], abs=5)
    assert found["blue"] == pytest.approx(expected["blue"], abs=0.03)


def hloc_extract(lightglue, path, model):
    """hloc resizes by itself, calls the network on a batch of one, and stores d × n in half precision."""
    pixels = lightglue.utils.read_image(path).astype(np.float32)
    size = pixels.shape[:2][::-1]
    pixels, _ = lightglue.utils.resize_image(pixels, 512, "max")
    data = {"image": torch.from_numpy(pixels.transpose(2, 0, 1) / 255.0)[None]}
    features = model(data)
    pred = {
        "keypoints": list(features["keypoints"]),
        "scores": list(features["keypoint_scores"]),
        "descriptors": [f.t() for f in features["descriptors"]],
    }
    pred = {name: value[0].numpy() for name, value in pred.items()}
    scales = np.array(size) / np.array(data["image"].shape[-2:][::-1])
    pred["keypoints"] = (pred["keypoints"] + 0.5) * scales[None] - 0.5
    return {name: value.astype(np.float16) for name, value in pred.items()} | {"image_size": np.array(size)}


def hloc_match(lightglue, features0, features1):
    """hloc's data set gives tensors with a number at the end of their names; its wrapper sorts them."""
    conf = {"name": "lightglue", "features": "aliked", "depth_confidence": 0.95, "width_confidence": 0.99}
    net = lightglue.LightGlue(conf.pop("features"), **conf).eval()
    data = {}
    for i, features in enumerate((features0, features1)):
        data |= {f"{name}{i}": torch.from_numpy(value).float()[None] for name, value in features.items()}
        data[f"image{i}"] = torch.empty((1, 1, *features["image_size"][::-1]))
    for name in ("descriptors0", "descriptors1"):
        data[name] = data[name].transpose(-1, -2)
    pred = net(
        {
            "image0": {k[:-1]: v for k, v in data.items() if k[-1] == "0"},
            "image1": {k[:-1]: v for k, v in data.items() if k[-1] == "1"},
        }
    )
    return pred["matches0"][0].cpu().short().numpy(), pred["matching_scores0"][0].cpu().half().numpy()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ALIKED", "DISK"])
def test_hloc_extract_features(ours, theirs, motorcycle, kind):
    conf = {"max_num_keypoints": 200}
    found, expected = (
        hloc_extract(package, motorcycle[0], getattr(package, kind)(**conf).eval()) for package in (ours, theirs)
    )
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {k: (v.shape, v.dtype) for k, v in expected.items()}
    points, others = (torch.from_numpy(x["keypoints"]).float() for x in (found, expected))
    assert share_near(others, points, px=0.6) > 0.95  # half precision


@pytest.mark.slow
def test_hloc_match_features(ours, theirs, motorcycle):
    model = theirs.ALIKED(max_num_keypoints=200).eval()
    features = [hloc_extract(theirs, path, model) for path in motorcycle]
    (matches, scores), (expected, expected_scores) = (hloc_match(package, *features) for package in (ours, theirs))
    assert matches.dtype == expected.dtype
    assert np.array_equal(matches, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-3)


class VismatchWrapper:
    """A matcher that owns an extractor and a LightGlue, and hands out matched points of two tensors."""

    def __init__(self, lightglue, device="cpu"):
        self.device, self.match_pair = device, lightglue.match_pair
        self.extractor = lightglue.ALIKED(max_num_keypoints=200).eval().to(device)
        self.matcher = lightglue.LightGlue(features="aliked", depth_confidence=-1, width_confidence=-1).to(device)

    def __call__(self, image0, image1):
        feats0, feats1, matches01 = self.match_pair(self.extractor, self.matcher, image0, image1, device=self.device)
        kpts0, kpts1, matches = feats0["keypoints"], feats1["keypoints"], matches01["matches"]
        return kpts0[matches[..., 0]], kpts1[matches[..., 1]], feats0["descriptors"], matches01["scores"]


@pytest.mark.slow
def test_vismatch(ours, theirs, motorcycle):
    image0, image1 = (theirs.utils.load_image(path, resize=400) for path in motorcycle)
    found, expected = (VismatchWrapper(package)(image0, image1) for package in (ours, theirs))
    assert found[2].shape == expected[2].shape
    assert len(found[0]) == len(found[1]) == len(found[3])
    assert share_near(torch.cat(expected[:2], dim=1), torch.cat(found[:2], dim=1)) > 0.95


@pytest.mark.slow
def test_frames_of_a_video(ours, theirs, motorcycle):
    """BGR arrays with negative strides, one black; the features of the first image are used again and again."""
    counts = []
    for lightglue in (ours, theirs):
        extractor = lightglue.ALIKED(max_num_keypoints=128).eval()
        matcher = lightglue.LightGlue(features="aliked", depth_confidence=0.9, width_confidence=0.95).eval()
        feats0 = extractor.extract(lightglue.utils.load_image(motorcycle[0], resize=300), resize=None)
        counts.append([])
        for path in (motorcycle[0], motorcycle[1]):
            frame = lightglue.utils.resize_image(lightglue.utils.read_image(path), 300)[0][..., ::-1]
            image1 = lightglue.utils.numpy_image_to_torch(frame[..., ::-1])
            matches01 = matcher({"image0": feats0, "image1": extractor.extract(image1, resize=None)})
            counts[-1].append(len(lightglue.utils.rbd(matches01)["matches"]))
    assert counts[0] == pytest.approx(counts[1], abs=3)
    assert counts[0][0] > 100
    black = ours.utils.numpy_image_to_torch(np.zeros((200, 300, 3), np.uint8))
    assert len(matcher_of_nothing(ours, feats0, black)) == 0


def matcher_of_nothing(lightglue, feats0, image1):
    feats1 = lightglue.ALIKED(max_num_keypoints=128).extract(image1, resize=None)
    return lightglue.LightGlue("aliked")({"image0": feats0, "image1": feats1})["matches"][0]


def run(script):
    import photoglue

    source = str(photoglue.__path__[0] + "/..")
    program = f"import sys, runpy; sys.path.insert(0, {source!r}); runpy.run_path({str(script)!r})"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=script.parent, capture_output=True, text=True, check=True, timeout=300
    )
