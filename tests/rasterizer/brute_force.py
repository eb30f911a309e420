"""An independent, slow renderer for tiny scenes: NumPy and SciPy, one pixel and one Gaussian at a time."""

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from tests.rasterizer.scenes import Scene


def render(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image [3, H, W], depth [H, W] and alpha [H, W]."""
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
        if "cov3d" in splats:
            xx, xy, xz, yy, yz, zz = splats["cov3d"][g]
            cov3d = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        else:
            axes = Rotation.from_quat(np.roll(splats["rotations"][g], -1)).as_matrix()
            cov3d = axes @ np.diag(splats["scales"][g] ** 2) @ axes.T
        to_camera = world_to_camera[:3, :3]
        cov2d = jacobian @ to_camera @ cov3d @ to_camera.T @ jacobian.T + 0.3 * np.eye(2)
        color = (
            splats["colors"][g]
            if "colors" in splats
            else sh_color(splats["sh"][g], splats["means"][g] - camera_center)
        )
        mean2d = np.array([fx * x / z + cx, fy * y / z + cy])
        flat.append((z, mean2d, np.linalg.inv(cov2d), splats["opacities"][g], color))
    flat.sort(key=lambda item: item[0])

    image = np.zeros((3, view.height, view.width))
    depth, alpha_map = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for row in range(view.height):
        for column in range(view.width):
            transmittance = 1.0
            for z, mean2d, precision, opacity, color in flat:
                offset = np.array([column + 0.5, row + 0.5]) - mean2d
                alpha = min(0.99, opacity * np.exp(-0.5 * offset @ precision @ offset))
                if alpha < 1 / 255:
                    continue
                if transmittance * (1 - alpha) < 1e-4:
                    break
                image[:, row, column] += transmittance * alpha * color
                depth[row, column] += transmittance * alpha * z
                transmittance *= 1 - alpha
            image[:, row, column] += transmittance * scene.background.numpy()
            alpha_map[row, column] = 1 - transmittance
    return image, depth, alpha_map


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
