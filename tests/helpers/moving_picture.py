"""Frames of which everything is known: a window that moves over a large picture of blots."""

import numpy as np

SIZE = 160, 120
STEP = np.array([2.0, 1.0])
"""Pixels by which the window moves each frame: so much the points move back."""


def picture(seed=0, size=(400, 300)):
    """Blots of many sizes, RGB."""
    import cv2

    random = np.random.default_rng(seed)
    canvas = np.zeros((size[1], size[0], 3), dtype=np.float32)
    for sigma in (1.5, 3, 8):
        noise = random.normal(size=canvas.shape).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), sigma)
        canvas += blurred / blurred.std()
    return np.clip(128 + 35 * canvas, 0, 255).astype(np.uint8)


def frames(count, *, seed=0, start=0):
    """Frames ``start`` to ``start + count - 1`` of the walk."""
    canvas = picture(seed)
    corners = [(STEP * number).astype(int) for number in range(start, start + count)]
    return [np.ascontiguousarray(canvas[y : y + SIZE[1], x : x + SIZE[0]]) for x, y in corners]


def black(count):
    return [np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)] * count


def write_video(path, images, fps=25.0, codec="MJPG"):
    """A video file; MJPG in .avi is the most exact that every OpenCV has."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, images[0].shape[1::-1])
    assert writer.isOpened()
    for image in images:
        writer.write(image[:, :, ::-1].copy())
    writer.release()
    return path


def write_folder(path, images, first=0):
    import cv2

    path.mkdir()
    for number, image in enumerate(images, start=first):
        cv2.imwrite(str(path / f"{number:04d}.png"), image[:, :, ::-1])
    return path


def models():
    """(extractor, matcher) without weights: SIFT and mutual nearest neighbours."""
    from photoglue.extractors.named import named_extractor
    from photoglue.matchers.nearest import NearestNeighbor

    return named_extractor("sift", max_keypoints=150, resize=None), NearestNeighbor(ratio=0.8)
