"""An independent, slow renderer for tiny scenes: NumPy and SciPy, one pixel and one Gaussian at a time."""

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from tests.rasterizer.scenes import Scene


def render(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image [3, H, W], depth [H, W] and alpha [H, W]."""
    view, background = scene.view, scene.background.numpy()
    flat = project(scene)
    image = np.zeros((3, view.height, view.width))
    depth, alpha = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for row in range(view.height):
        for column in range(view.width):
            color, z, transmittance = blend(flat, np.array([column + 0.5, row + 0.5]))
            image[:, row, column] = color + transmittance * background
            depth[row, column], alpha[row, column] = z, 1 - transmittance
    return image, depth, alpha


def project(scene: Scene) -> list[tuple]:
    """Return (z or 1 / z, mean, inverse covariance, opacity, colour) of Gaussians before the camera, by z."""
    splats = {name: t.numpy() for name, t in scene.splats._asdict().items() if t is not None}
    view = scene.view
    world_to_camera = view.world_to_camera.numpy()
    fx, fy, cx, cy = view.intrinsics.numpy()
    camera_center = np.linalg.inv(world_to_camera)[:3, 3]
    flat = []
    for g in range(len(splats["means"])):
        x, y, z = (world_to_camera @ np.append(splats["means"][g], 1))[:3]
        if z <= view.near:
            continue
        tan_x, tan_y = view.width / (2 * fx), view.height / (2 * fy)
        clamped_x = z * np.clip(x / z, -cx / fx - 0.3 * tan_x, (view.width - cx) / fx + 0.3 * tan_x)
        clamped_y = z * np.clip(y / z, -cy / fy - 0.3 * tan_y, (view.height - cy) / fy + 0.3 * tan_y)
        jacobian = np.array([[fx / z, 0, -fx * clamped_x / z**2], [0, fy / z, -fy * clamped_y / z**2]])
        to_camera, cov3d = world_to_camera[:3, :3], covariance(splats, g)
        sharp = jacobian @ to_camera @ cov3d @ to_camera.T @ jacobian.T
        cov2d = sharp + 0.3 * np.eye(2)
        opacity = splats["opacities"][g]
        if view.antialiased:
            # The standard deviations along the axes of the ellipse, before and after: the ratio of its areas.
            before, after = np.linalg.eigvalsh(sharp), np.linalg.eigvalsh(cov2d)
            opacity *= np.prod(np.sqrt(np.maximum(before, 0) / after))
        mean2d = np.array([fx * x / z + cx, fy * y / z + cy])
        if "colors" in splats:
            color = splats["colors"][g]
        else:
            color = sh_color(splats["sh"][g], splats["means"][g] - camera_center)
        flat.append((z, mean2d, np.linalg.inv(cov2d), opacity, color))
    flat.sort(key=lambda item: item[0])
    return [(1 / item[0], *item[1:]) for item in flat] if view.inverse_depth else flat


def covariance(splats: dict[str, np.ndarray], g: int) -> np.ndarray:
    """Return the covariance [3, 3] of a Gaussian in the world."""
    if "cov3d" in splats:
        xx, xy, xz, yy, yz, zz = splats["cov3d"][g]
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    axes = Rotation.from_quat(np.roll(splats["rotations"][g], -1)).as_matrix()
    return axes @ np.diag(splats["scales"][g] ** 2) @ axes.T


def blend(flat: list[tuple], pixel: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return colour, depth and transmittance at a pixel's centre."""
    color, depth, transmittance = np.zeros(3), 0.0, 1.0
    for z, mean2d, precision, opacity, own_color in flat:
        offset = pixel - mean2d
        alpha = min(0.99, opacity * np.exp(-0.5 * offset @ precision @ offset))
        if alpha < 1 / 255:
            continue
        if transmittance * (1 - alpha) < 1e-4:
            break
        color += transmittance * alpha * own_color
        depth += transmittance * alpha * z
        transmittance *= 1 - alpha
    return color, depth, transmittance


def sh_color(coefficients: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Colour [3] of SH coefficients [S, 3]: real harmonics with the Condon-Shortley phase."""
    x, y, z = direction / np.linalg.norm(direction)
    theta, phi = np.arccos(z), np.arctan2(y, x)
    color, k = np.full(3, 0.5), 0
    for degree in range(int(np.sqrt(len(coefficients)))):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi)
            basis = value.real if order == 0 else np.sqrt(2) * (value.imag if order < 0 else value.real)
            color += basis * coefficients[k]
            k += 1
    return np.maximum(color, 0)
