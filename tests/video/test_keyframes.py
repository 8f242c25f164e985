"""What happens on the other thread: keypoints meet tracks."""

import numpy as np
import pytest
import torch
from moving_picture import STEP, frames, models

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)


def worker(extractor=None, matcher=None):
    from photoglue.video.keyframes import KeyframeWorker, vocabulary_for

    own, matching = models()
    chosen = extractor or own
    return KeyframeWorker(chosen, matcher or matching, None, 20.0, 12, vocabulary_for(chosen))


def job(image, number, live=None, known=(), lost=False):
    from photoglue.video.keyframes import KeyframeJob
    from photoglue.video.points import Live

    return KeyframeJob(
        frame=number, timestamp=0.0, reason="asked", image=image, mask=None, live=live or Live.none(), lost=lost,
        known=tuple(known),
    )  # fmt: skip


def first(number=0, seed=0):
    """A keyframe all of whose features are tracks, numbered as they are."""
    from dataclasses import replace

    keyframe = worker().run(job(frames(1, start=number, seed=seed)[0], number)).keyframe
    assert (keyframe.ids == -2).all()  # all are new
    return replace(keyframe, ids=np.arange(len(keyframe.ids)) + 1000 * seed)


def test_tracks_go_on_begin_and_drift_back():
    from photoglue.video.points import Live

    start = first()
    truth = start.features.keypoints.numpy() - 4 * STEP
    lost = np.arange(len(truth)) % 2 == 0
    kept = np.flatnonzero(~lost)
    points = truth[kept].copy()
    points[0] += 8  # drifted: 4 pixels of a frame 640 pixels long are one here
    live = Live(ids=kept, points=points.astype(np.float32), born=np.zeros(len(kept), dtype=np.int64))
    done = worker().run(job(frames(5)[4], 4, live, [start]))
    ids, where = done.keyframe.ids, done.keyframe.features.keypoints.numpy()
    known = ids >= 0
    assert known.sum() > 40
    assert len(np.unique(ids[known])) == known.sum()
    errors = np.linalg.norm(where[known] - truth[ids[known]], axis=1)
    assert np.quantile(errors, 0.9) < 1.5
    assert np.isin(ids, np.flatnonzero(lost)).sum() > 15  # found again
    new = ids == -2
    distance = np.linalg.norm(where[new][:, None] - points[None], axis=2).min(axis=1)
    assert (distance > 5).all()  # 20 pixels of a frame 640 pixels long
    assert done.keyframe.links[0].frame == 0
    assert len(done.scores) == len(ids)


def test_tracks_against_the_geometry_end():
    from photoglue.video.points import Live

    start = first()
    points = start.features.keypoints.numpy() - 4 * STEP
    points[::6] += np.random.default_rng(0).uniform(-9, 9, points[::6].shape)
    live = Live(ids=start.ids, points=points.astype(np.float32), born=start.ids * 0)
    wrong = worker().run(job(frames(5)[4], 4, live, [start])).wrong
    assert len(wrong) > 0.4 * len(points) / 6
    assert np.isin(wrong, start.ids[::6]).all()


@pytest.mark.slow
def test_a_lost_camera_is_found_among_all_keyframes():
    known = [first(0), *(first(number, seed=number) for number in range(1, 12))]
    done = worker().run(job(frames(4)[3], 50, None, known, lost=True))
    assert [link.frame for link in done.keyframe.links] == [0]
    assert (done.keyframe.ids < 1000).all()
    nowhere = worker().run(job(frames(1, seed=99)[0], 51, None, known, lost=True))
    assert nowhere.keyframe.links == ()
    assert (nowhere.keyframe.ids == -2).all()


def test_without_a_vocabulary_the_last_ones_are_tried():
    from dataclasses import replace

    from photoglue.extractors.sift import SIFT
    from photoglue.video.keyframes import vocabulary_for

    class Mine(SIFT):
        kind = "mine"

    mine = Mine(models()[0].config)
    assert vocabulary_for(mine) is None
    keyframe = worker(mine).run(job(frames(1)[0], 0)).keyframe
    keyframe = replace(keyframe, ids=np.arange(len(keyframe.ids)))
    done = worker(mine).run(job(frames(3)[2], 2, None, [keyframe], lost=True))
    assert len(done.keyframe.links) == 1


def test_a_frame_without_points():
    done = worker().run(job(np.zeros((120, 160, 3), dtype=np.uint8), 0, None, [first()]))
    assert len(done.keyframe.ids) == 0
    assert done.keyframe.links == ()
    assert torch.equal(done.keyframe.features.keypoints, torch.zeros(0, 2))


def test_what_is_remembered_is_small():
    from photoglue.video.keyframes import remembered

    kept = remembered(first())
    assert (kept.image, kept.mask, kept.links) == (None, None, ())
