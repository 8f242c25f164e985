"""Poses of cameras, and how far an estimated one is from the truth.

A pose is a 4 × 4 matrix with float64 values whose name says what it does: ``cam0_from_world`` takes homogeneous points
of the world to the frame of camera 0 (x to the right, y down, z along the optical axis).
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def relative_pose(
    cam0_from_world: Float64[Tensor, "4 4"], cam1_from_world: Float64[Tensor, "4 4"]
) -> Float64[Tensor, "4 4"]:
    """The pose ``cam1_from_cam0`` of two cameras, X1 = R · X0 + t, in the unit of the two poses."""
    world_from_cam0: Tensor = torch.linalg.inv(cam0_from_world)
    return cam1_from_world @ world_from_cam0


def rotation_from_quaternion(quaternion: Float64[Tensor, "4"]) -> Float64[Tensor, "3 3"]:
    """The rotation of a quaternion (w, x, y, z) of any length but zero."""
    w, x, y, z = (quaternion / quaternion.norm()).tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    rotation: Tensor = torch.eye(3, dtype=torch.float64) + 2 * w * cross + 2 * cross @ cross
    return rotation


def quaternion_from_rotation(rotation: Float64[Tensor, "3 3"]) -> Float64[Tensor, "4"]:
    """The unit quaternion (w, x, y, z) of a rotation, w not negative.

    It is the eigenvector of the largest eigenvalue of Bar-Itzhack's matrix (2000), exact for each angle.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.double().tolist()
    matrix = torch.tensor(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ],
        dtype=torch.float64,
    )
    quaternion: Tensor = torch.linalg.eigh(matrix).eigenvectors[:, -1]
    return quaternion if float(quaternion[0]) >= 0 else -quaternion


def rotation_error_deg(estimated: Float[Tensor, "3 3"], true: Float[Tensor, "3 3"]) -> float:
    """The angle between two rotations, 0…180 degrees.

    It is computed from sine and cosine together: the arc cosine of the trace alone, which most evaluations use, cannot
    tell angles below 1e-6 degrees from zero (float32: below 0.02), and is as blunt near 180. A true rotation written
    with six digits, as Strecha's are, alone gives it an error of up to 0.08 degrees.
    """
    difference = estimated.double().T @ true.double()
    skew = difference - difference.T
    # 2 · sine · axis
    axis = torch.stack([skew[2, 1], skew[0, 2], skew[1, 0]])
    return math.degrees(math.atan2(float(axis.norm()), float(difference.trace()) - 1.0))


def translation_error_deg(estimated: Float[Tensor, "3"], true: Float[Tensor, "3"]) -> float:
    """The angle between the lines along two translations, 0…90 degrees.

    Their lengths do not count, since two photos do not tell the scale; nor does the sign (min(e, 180 - e), as the field
    has it: an essential matrix has none).

    It is 0 if the true translation is zero, since then no direction is wrong, and 90 if only the estimated one is zero.
    """
    estimated, true = estimated.double(), true.double()
    if not bool(true.any()):
        return 0.0
    if not bool(estimated.any()):
        return 90.0
    # Unit length first: products of tiny numbers would vanish.
    estimated, true = estimated / estimated.norm(), true / true.norm()
    sine, cosine = torch.linalg.cross(estimated, true).norm(), (estimated @ true).abs()
    return math.degrees(math.atan2(float(sine), float(cosine)))


def pose_error_deg(
    rotation: Float[Tensor, "3 3"] | None,
    translation: Float[Tensor, "3"] | None,
    cam1_from_cam0: Float64[Tensor, "4 4"],
) -> float:
    """The larger of the errors of rotation and direction of translation, degrees: what AUC@5/10/20° counts.

    Args:
        rotation: Estimated rotation, such as ``Verification.rotation``; the error is infinite if it is None or not
            finite.
        translation: Estimated translation, of any length; the error is infinite if it is None or not finite.
        cam1_from_cam0: The true pose.
    """
    if rotation is None or translation is None:
        return math.inf
    errors = (
        rotation_error_deg(rotation, cam1_from_cam0[:3, :3]),
        translation_error_deg(translation, cam1_from_cam0[:3, 3]),
    )
    return math.inf if any(math.isnan(error) for error in errors) else max(errors)
