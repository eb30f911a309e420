"""A known head, seen by known cameras, and folders of it as others write them.

The head is a ball, told in FLAME's frame (metres, y up, z to the front), which turns about a neck's and a
root's joint as FLAME does. Every writer takes a `Scene` and writes the numbers of its layout; none of it uses
the code that reads them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

CENTRE, RADIUS = np.array([0, 0.01, 0.0]), 0.11
NECK, ROOT = np.array([0, -0.08, -0.03]), np.array([0, -0.15, -0.01])
# Points of the head whose pixels are known, metres.
POINTS = np.array([[0, 0, 0], [0.05, 0.04, 0.06], [-0.06, 0.02, -0.05], [0.02, -0.07, 0.08]])
NUM_EXPRESSIONS = 100


@dataclass(frozen=True)
class Camera:
    """A pinhole; world_to_camera with OpenCV axes, metres."""

    world_to_camera: np.ndarray
    focal: float
    center: tuple[float, float]
    size: tuple[int, int]

    @property
    def intrinsics(self) -> np.ndarray:
        return np.array([[self.focal, 0, self.center[0]], [0, self.focal + 1, self.center[1]], [0, 0, 1]])

    @property
    def opengl(self) -> np.ndarray:
        """Camera-to-world with OpenGL axes."""
        return np.linalg.inv(self.world_to_camera) @ np.diag([1.0, -1, -1, 1])

    def pixels(self, points: np.ndarray) -> np.ndarray:  # [P, 3] of the world -> [P, 2]
        seen = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        projected = seen @ self.intrinsics.T
        return projected[:, :2] / projected[:, 2:]


def camera(degrees: float = 0.0, focal: float = 300.0, size: int = 96, shift: float = 0.0) -> Camera:
    """1 m away, turned about y."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([1.0, -1, -1]) @ Rotation.from_euler("y", -degrees, degrees=True).as_matrix()
    matrix[:3, 3] = [0.004, -0.003, 1.0]
    return Camera(matrix, focal, (size / 2 + shift, size / 2 - shift), (size, size))


@dataclass(frozen=True)
class Scene:
    """`num` moments; rotation vectors and metres."""

    glob: np.ndarray  # [F, 3]
    neck: np.ndarray  # [F, 3]
    translation: np.ndarray  # [F, 3]
    jaw: np.ndarray  # [F, 3]
    eyes: np.ndarray  # [F, 6]
    expression: np.ndarray  # [F, 100]

    def __len__(self) -> int:
        return len(self.glob)

    def head_to_world(self, frame: int) -> np.ndarray:
        """FLAME's own order: about the neck, about the root, then the translation."""

        def about(joint: np.ndarray, vector: np.ndarray) -> np.ndarray:
            there, turn = np.eye(4), np.eye(4)
            there[:3, 3] = joint
            turn[:3, :3] = Rotation.from_rotvec(vector).as_matrix()
            return there @ turn @ np.linalg.inv(there)

        moved = np.eye(4)
        moved[:3, 3] = self.translation[frame]
        return moved @ about(ROOT, self.glob[frame]) @ about(NECK, self.neck[frame])

    def points(self, frame: int, points: np.ndarray = POINTS) -> np.ndarray:
        pose = self.head_to_world(frame)
        return points @ pose[:3, :3].T + pose[:3, 3]


def scene(
    num: int = 12, turn: float = 0.4, nod: float = 0.2, travel: float = 0.02, still_neck: bool = False
) -> Scene:
    """A head that turns by up to `turn` (global) and `nod` (neck) radians and travels a little."""
    random = np.random.default_rng(0)
    phase = np.linspace(0, 2 * np.pi, num, endpoint=False)
    wave = np.stack([np.sin(2 * phase), np.sin(phase), 0.4 * np.cos(3 * phase)], axis=1)
    other = np.stack([np.cos(phase), np.sin(3 * phase), 0.3 * np.sin(2 * phase)], axis=1)
    return Scene(
        turn * wave,
        0 * other if still_neck else nod * other,
        travel * np.stack([np.cos(phase), np.sin(2 * phase), np.sin(phase)], axis=1),
        random.normal(0, 0.1, (num, 3)),
        random.normal(0, 0.1, (num, 6)),
        random.normal(size=(num, NUM_EXPRESSIONS)),
    )


VIEWS = [camera(0), camera(25, 270.0, shift=2.0), camera(-25, 330.0, shift=-1.5)]


def moving_views(num: int) -> list[Camera]:
    return [camera(20 * np.sin(i)) for i in range(num)]


def still_scene(num: int) -> Scene:
    return scene(num, turn=0, nod=0, travel=0)


def draw(view: Camera, pose: np.ndarray, brightness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """RGB picture and matte of the ball, by intersecting rays, 4 x 4 a pixel; from (0, 0) on."""
    width, height = view.size
    side = 4
    columns, rows = (np.arange(side * n) / side + 0.5 / side for n in (width, height))
    x, y = np.meshgrid(columns, rows)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(view.intrinsics).T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    head_to_camera = view.world_to_camera @ pose
    centre = head_to_camera[:3, :3] @ CENTRE + head_to_camera[:3, 3]
    along = rays @ centre
    inner = along**2 - (centre @ centre - RADIUS**2)
    is_hit = inner > 0
    hits = rays * (along - np.sqrt(np.maximum(inner, 0)))[..., None]
    local = (hits - centre) @ head_to_camera[:3, :3] / RADIUS
    color = np.where(is_hit[..., None], 120 + 100 * local * brightness, [40, 60, 30])

    def shrunk(values: np.ndarray) -> np.ndarray:
        blocks = values.reshape(height, side, width, side, -1).mean((1, 3))
        return blocks.squeeze().round().astype(np.uint8)

    return shrunk(color), shrunk(255.0 * is_hit[..., None])


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels.ndim == 3:
        pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=-1)
    assert cv2.imwrite(str(path), pixels)


def save_json(path: Path, document: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def flame_arrays(scene: Scene, frame: int) -> dict[str, np.ndarray]:
    """As VHAP names FLAME's parameters."""
    arrays = {
        "translation": scene.translation, "rotation": scene.glob, "neck_pose": scene.neck,
        "jaw_pose": scene.jaw, "eyes_pose": scene.eyes, "expr": scene.expression,
    }  # fmt: skip
    one = {key: values[frame : frame + 1].astype(np.float32) for key, values in arrays.items()}
    return one | {"shape": np.zeros(300, np.float32)}


def vhap_entry(view: Camera, moment: int, index: int, folder: str = "") -> dict:
    name = f"{moment:05d}_{index:02d}.png"
    return {
        "timestep_index": moment, "timestep_id": f"{moment:06d}",
        "camera_index": index, "camera_id": f"cam{index}",
        "fl_x": view.focal, "fl_y": view.focal + 1, "cx": view.center[0], "cy": view.center[1],
        "w": view.size[0], "h": view.size[1], "transform_matrix": view.opengl.tolist(),
        "file_path": f"{folder}images/{name}", "fg_mask_path": f"{folder}fg_masks/{name}",
    }  # fmt: skip


def write_vhap(
    root: Path, scene: Scene, views: list[Camera], with_meshes: bool = False, folder: str = ""
) -> list[dict]:
    """VHAP's export in its parameter mode, or in its mesh mode; returns the entries of its frames."""
    entries = []
    for moment in range(len(scene)):
        for index, view in enumerate(views):
            entry = vhap_entry(view, moment, index, folder)
            image, matte = draw(view, scene.head_to_world(moment))
            save(root / f"images/{moment:05d}_{index:02d}.png", image)
            save(root / f"fg_masks/{moment:05d}_{index:02d}.png", matte)
            if with_meshes:
                entry |= {"exp_path": f"flame/exp/{moment:05d}.txt", "mesh_path": f"meshes/{moment:05d}.obj"}
            else:
                entry["flame_param_path"] = f"{folder}flame_param/{moment:05d}.npz"
            entries.append(entry)
        if with_meshes:
            write_mesh_step(root, scene, moment)
        else:
            (root / "flame_param").mkdir(exist_ok=True)
            np.savez(root / f"flame_param/{moment:05d}.npz", **flame_arrays(scene, moment))
    shared = {key: entries[-1][key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")}
    save_json(root / "transforms.json", {"frames": entries} | shared)
    return entries


def mesh_points(scene: Scene | None, moment: int) -> np.ndarray:  # [400, 3]
    """A skull, rigid; below it a quarter that moves with the expression, and a neck that never turns."""
    points = np.random.default_rng(1).uniform(-0.1, 0.1, (400, 3))
    points = points[np.argsort(points[:, 1])]
    if scene is not None:
        points[100:200] += 0.02 * np.random.default_rng(2 + moment).normal(size=(100, 3))
    return points


def write_mesh_step(root: Path, scene: Scene, moment: int) -> None:
    for folder in ("meshes", "flame/exp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    np.savetxt(root / f"flame/exp/{moment:05d}.txt", scene.expression[moment])
    points = scene.points(moment, mesh_points(scene, moment))
    points[:100] = mesh_points(None, 0)[:100] + scene.translation[moment]
    write_obj(root / f"meshes/{moment:05d}.obj", points)
    write_obj(root / "canonical.obj", mesh_points(None, 0))


def write_obj(path: Path, points: np.ndarray) -> None:
    lines = [f"v {x:.8f} {y:.8f} {z:.8f}" for x, y, z in points]
    path.write_text("\n".join([*lines, "vt 0 0", "f 1 2 3"]))


def write_imavatar(root: Path, scene: Scene, view: Camera, in_pixels: bool = False) -> None:
    """One video's folder; axes of the camera as OpenGL's, lengths times 4, z of what is seen negative."""
    frames = []
    for moment in range(len(scene)):
        name = f"{moment + 1}.png"
        image, matte = draw(view, scene.head_to_world(moment))
        save(root / "image" / name, image)
        save(root / "mask" / name, matte)
        # Skin above, clothes below.
        labels = np.where(np.arange(len(matte))[:, None] < len(matte) // 2, 1, 16)
        save(root / "semantic" / name, np.where(matte > 127, labels, 0).astype(np.uint8))
        turned = np.diag([1.0, -1, -1, 1]) @ view.world_to_camera
        turned[:3, 3] *= 4
        pose = [*scene.glob[moment], *scene.neck[moment], *scene.jaw[moment], *scene.eyes[moment]]
        frames.append(
            {"file_path": f"./image/{moment + 1}", "world_mat": turned[:3].tolist(), "pose": pose,
             "expression": scene.expression[moment, :50].tolist(), "bbox": [-0.5, -0.5, 0.5, 0.5]}
        )  # fmt: skip
    width, height = view.size
    shares = np.array(
        [-view.focal / width, (view.focal + 1) / height, view.center[0] / width, view.center[1] / height]
    )
    document = {"frames": frames[::-1], "intrinsics": (shares * (512 if in_pixels else 1)).tolist()}
    save_json(root / "flame_params.json", document | {"shape_params": [0.0] * 100})


def write_frames_of_metrical_tracker(folder: Path, scene: Scene, views: list[Camera]) -> None:
    """A .frame for each; the head is still and the camera moves."""
    folder.mkdir(parents=True)
    for index, view in enumerate(views):
        flame = {
            "exp": scene.expression[index],
            "eyes": np.zeros(12),
            "eyelids": np.zeros(2),
            "jaw": np.zeros(6),
        }
        matrix = view.world_to_camera.astype(np.float32)[None]
        payload = {
            "flame": {key: values[None].astype(np.float32) for key, values in flame.items()},
            "opencv": {"R": matrix[:, :3, :3], "t": matrix[:, :3, 3], "K": np.float32(view.intrinsics)[None]},
            "img_size": np.array(view.size), "frame_id": f"{index:05d}", "global_step": index,
        }  # fmt: skip
        torch.save(payload, folder / f"{index:05d}.frame")


def write_arrays_of_head_tracker(root: Path, scene: Scene, view_of, size: int = 96) -> None:
    """flame-head-tracker's .npz, pictures inside; K is that of 256 pixels."""
    root.mkdir(parents=True)
    for moment in range(len(scene)):
        view = view_of(moment)
        image, matte = draw(view, scene.head_to_world(moment))
        yaw, pitch, roll = Rotation.from_matrix(view.opengl[:3, :3]).as_euler("ZYX")[[1, 2, 0]]
        np.savez(
            root / f"{moment:05d}.npz",
            exp=scene.expression[moment][None], jaw_pose=scene.jaw[moment][None],
            neck_pose=scene.neck[moment][None], eye_pose=scene.eyes[moment][None],
            head_pose=scene.glob[moment][None],
            shape=np.zeros((1, 300)),
            cam=np.array([[yaw, pitch, roll, *view.opengl[:3, 3]]]), fov=20.0,
            K=np.diag([256 / size, 256 / size, 1])[None] @ view.intrinsics,
            img=image[None], parsing=(matte > 127).astype(np.uint8)[None],
        )  # fmt: skip


def write_nerfblendshape(root: Path, scene: Scene, views: list[Camera], split: bool = False) -> None:
    """Head units; split files carry focal_len, as talking-head NeRFs'."""
    frames = []
    for index, view in enumerate(views):
        image, matte = draw(view, np.eye(4), 0.5 + 0.5 * index / len(views))
        save(root / f"ori_imgs/{index}.png", image)
        save(root / f"mask/{index + 1}.png", matte)
        pose = view.opengl.copy()
        pose[:3, 3] *= 2.7
        expression = scene.expression[index, :46].tolist()
        frames.append({"img_id": index, "exp_ori": expression, "transform_matrix": pose.tolist()})
    view = views[0]
    shared = {"cx": view.center[0], "cy": view.center[1]}
    if not split:
        shared |= {"fx": view.focal, "fy": view.focal + 1, "w": view.size[0], "h": view.size[1]}
        save_json(root / "transforms.json", shared | {"frames": frames})
        return
    for name, part in (("train", frames[:-3]), ("val", frames[-3:]), ("test", frames[-4:])):
        document = shared | {"focal_len": view.focal, "frames": part}
        save_json(root / f"transforms_{name}.json", document)
