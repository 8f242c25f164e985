"""The same calls draw the same things as with the official module."""

import importlib

import numpy as np
import pytest
import torch

from photoglue.errors import ShapeError

plt = pytest.importorskip("matplotlib.pyplot", exc_type=ImportError)
colors = pytest.importorskip("matplotlib.colors", exc_type=ImportError)


@pytest.fixture(scope="module")
def viz2d():
    from photoglue.compat import viz2d

    return viz2d


@pytest.fixture(scope="module")
def theirs(official):
    return importlib.import_module(f"{official.__name__}.viz2d")


@pytest.fixture(autouse=True)
def _figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


VALUES = np.linspace(-1.2, 1.3, 101)


@pytest.mark.parametrize("name", ["cm_RdGn", "cm_BlRdGn"])
def test_colour_maps(viz2d, theirs, name):
    np.testing.assert_allclose(getattr(viz2d, name)(VALUES), getattr(theirs, name)(VALUES), atol=1e-12)


def test_cm_grad2d(viz2d, theirs):
    xy = np.stack(np.meshgrid(VALUES, VALUES), axis=-1)
    np.testing.assert_allclose(viz2d.cm_grad2d(xy), theirs.cm_grad2d(xy), atol=1e-12)


@pytest.mark.parametrize("layers", [[1, 2, 5, 9, 3], [9, 9], [1.0, 4.0]])
def test_cm_prune(viz2d, theirs, layers):
    found = viz2d.cm_prune(torch.tensor(layers))
    np.testing.assert_allclose(found, theirs.cm_prune(torch.tensor(layers)), atol=1e-12)
    assert found.shape == (len(layers), 4)


def test_no_points(viz2d):
    """The official functions fail here."""
    assert viz2d.cm_prune(torch.zeros(0, dtype=torch.int64)).shape == (0, 4)
    viz2d.plot_images([np.zeros((4, 4))] * 2)
    viz2d.plot_matches(torch.zeros(0, 2), torch.zeros(0, 2))
    viz2d.plot_matches(torch.zeros(0, 2), torch.zeros(0, 2), color="lime")
    viz2d.plot_matches(torch.ones(1, 2), torch.ones(1, 2))
    assert len(drawn()["lines"]) == 1


def outline(text):
    return [getattr(effect, "_gc", None) for effect in text.get_path_effects()]


def drawn() -> dict:
    """What is on the current figure, in plain values."""
    figure = plt.gcf()
    axes = figure.axes
    return {
        "size": figure.get_size_inches().tolist(),
        "dpi": figure.dpi,
        "places": np.array([one.get_position().bounds for one in axes]),
        "limits": np.array([[*one.get_xlim(), *one.get_ylim()] for one in axes]),
        "titles": [one.get_title() for one in axes],
        "images": [np.asarray(one.images[0].get_array()) for one in axes],
        "maps": [one.images[0].cmap.name for one in axes],
        "framed": [one.axison for one in axes],
        "points": [
            (np.asarray(c.get_offsets()), c.get_sizes(), c.get_facecolor(), c.get_linewidths(), c.get_alpha())
            for one in axes
            for c in one.collections
        ],
        "lines": [
            (
                *line.xy1,
                *line.xy2,
                *colors.to_rgba(line.get_edgecolor()),
                line.get_linewidth(),
                line.get_zorder(),
                axes.index(line.axesA),
                axes.index(line.axesB),
            )
            for line in figure.artists
        ],
        "labels": [line.get_label() for line in figure.artists],
        "texts": [
            (t.get_text(), t.get_position(), t.get_fontsize(), t.get_ha(), t.get_va(), t.get_color(), outline(t))
            for one in axes
            for t in one.texts
        ],
    }


POINTS = np.random.default_rng(0).uniform(0, 40, (2, 6, 2)).astype(np.float32)
IMAGES = [torch.rand(3, 40, 60, generator=torch.manual_seed(0)), np.linspace(0, 1, 1200).reshape(40, 30)]


def everything_default(viz):
    viz.plot_images(IMAGES)
    viz.plot_keypoints(list(POINTS))
    viz.plot_matches(*POINTS)
    viz.add_text(0, "left")


def everything_changed(viz):
    viz.plot_images([*IMAGES, IMAGES[1]], ["a", "b", "c"], ["gray", "viridis", "gray"], dpi=50, pad=0.1, adaptive=False)
    viz.plot_keypoints(
        [torch.from_numpy(x) for x in POINTS], ["red", viz.cm_prune(np.arange(6) + 1)], ps=10, a=[0.5, 1]
    )
    axes = plt.gcf().axes
    labels = [f"match {i}" for i in range(6)]
    viz.plot_matches(*map(torch.from_numpy, POINTS), "lime", 0.2, 3, 0.7, labels, axes=(axes[1], axes[2]))
    colours = viz.cm_RdGn(np.linspace(0, 1, 6)).tolist()
    viz.plot_matches(*POINTS, color=colours, ps=0)
    viz.add_text(1, "right", (0.5, 0.1), 20, "red", None, 5, "right", "bottom")
    viz.add_text(1, "again", lcolor="blue", lwidth=7)


def one_image(viz):
    viz.plot_images([IMAGES[0][:1]])
    viz.plot_keypoints([POINTS[0]], colors=[viz.cm_RdGn(np.linspace(0, 1, 6))], ps=1)


@pytest.mark.parametrize("script", [everything_default, everything_changed, one_image])
def test_the_same_is_drawn(viz2d, theirs, script):
    script(theirs)
    expected = drawn()
    script(viz2d)
    found = drawn()
    assert found.keys() == expected.keys()
    for name in ("titles", "maps", "framed", "labels", "texts"):
        assert found[name] == expected[name], name
    for name in ("size", "dpi", "places", "limits", "lines"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, err_msg=name)
    for mine, other in zip(found["images"], expected["images"], strict=True):
        assert np.array_equal(mine.squeeze(), other.squeeze())
    for mine, other in zip(found["points"], expected["points"], strict=True):
        assert mine[-1] == other[-1]
        for value, wanted in zip(mine[:-1], other[:-1], strict=True):
            np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_an_array_of_colours(viz2d):
    viz2d.plot_images(IMAGES)
    viz2d.plot_matches(*POINTS, color=viz2d.cm_RdGn(np.linspace(0, 1, 6)))
    assert drawn()["lines"][0][4:8] == (1, 0, 0, 1)
    assert drawn()["lines"][5][4:8] == (0, 1, 0, 1)


def test_no_matches_but_points(viz2d):
    viz2d.plot_images(IMAGES)
    with pytest.raises(ShapeError, match=r"There are 6 and 5 points; a match is a point of each"):
        viz2d.plot_matches(POINTS[0], POINTS[1][:5])


def test_save_plot(viz2d, theirs, tmp_path):
    viz2d.plot_images(IMAGES)
    viz2d.save_plot(tmp_path / "ours.png", dpi=40)
    theirs.save_plot(tmp_path / "theirs.png", dpi=40)
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()
