"""An extractor of one's own, complete: OpenCV's ORB points, with their 256 bits as a descriptor of 256 numbers.

    photoglue train homography --images PHOTOS --features examples/custom_extractor.py:ORB --init aliked

docs/training.md goes through it. All that an extractor needs is ``kind``, ``descriptor_dim`` and ``detect``; reading
photos, resizing, and the way back to pixels of the photo are done by the base class.
"""

import cv2
import numpy as np
import torch

import photoglue
from photoglue.image import to_gray


class ORB(photoglue.Extractor):
    """Oriented FAST corners with binary descriptors (Rublee et al., ICCV 2011)."""

    kind = "orb-opencv"  # written into caches and weights, so that features are never confused
    descriptor_dim = 256

    def __init__(self, config=None):
        # The command line makes the class without arguments, so everything needs a default. Objects of OpenCV are made
        # in detect() instead of here: they cannot be pickled, and the processes that extract get a pickled copy.
        super().__init__(config or photoglue.ExtractorConfig(max_keypoints=1024))

    def detect(self, images, masks=None):
        """Features of a batch: ``images`` is b × (1 or 3) × h × w in [0, 1], ``masks`` b × h × w or None."""
        grays = (to_gray(images)[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
        wanted = [None] * len(grays) if masks is None else masks.to(torch.uint8).cpu().numpy()
        return [self._detect_one(gray, mask).to(images.device) for gray, mask in zip(grays, wanted, strict=True)]

    def _detect_one(self, gray, mask):
        limit = self.config.max_keypoints or 100_000
        # Three times as many as wanted, because some are dropped below; a low threshold, so that flat photos have some.
        orb = cv2.ORB_create(nfeatures=3 * limit, fastThreshold=5)
        points, bits = orb.detectAndCompute(gray, mask)
        if not points:  # then OpenCV returns None for the descriptors
            bits = np.zeros((0, 32), np.uint8)
        # One row for each point: x, y, score, diameter of the patch in pixels, angle in degrees.
        table = np.array([(*p.pt, p.response, p.size, p.angle) for p in points], np.float32).reshape(-1, 5)
        rows = np.argsort(-table[:, 2], kind="stable")  # best first
        # ORB finds a corner again at other scales. As labels such points contradict each other: only one of them can
        # be the match. So keep the best of each cell of 3 × 3 pixels.
        _, first = np.unique(table[rows, :2] // 3, axis=0, return_index=True)
        rows = rows[np.sort(first)][:limit]
        table, bits = torch.from_numpy(table[rows]), np.unpackbits(bits[rows], axis=1)
        return photoglue.Features(
            keypoints=table[:, :2],  # (x, y); the centre of the top-left pixel is (0, 0), as in OpenCV
            # Bits as ± 1/16: of unit length, and the larger the dot product, the smaller the Hamming distance.
            descriptors=torch.from_numpy(bits).float() / 8 - 1 / 16,
            scores=table[:, 2],
            image_size=(gray.shape[1], gray.shape[0]),
            kind=self.kind,
            # Both may be left out. With them the network sees how large and in which direction a point is.
            scales=table[:, 3] / 31,  # ORB's patch has 31 pixels at the finest scale
            orientations=torch.deg2rad(table[:, 4]),
        )
