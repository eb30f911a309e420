"""The avatar as another face moves: its own camera, or one along a path; no truth, so no scores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arguments import RenderConfig
from rendering.driving.head_angles import usual_rotation
from rendering.driving.live_link import ARKIT_NAMES
from rendering.driving.reading import read_driving
from rendering.driving.retarget import clipped_to_unit, retarget
from rendering.driving.sequence import DrivingSequence
from rendering.driving.speech.speaking import speak
from rendering.novel_views import along_path, own_camera, path_suffix
from rendering.sets import DrivenViews, ViewSets
from scene.avatar import Avatar, are_arkit
from scene.cameras import OPENGL_TO_OPENCV, Camera
from scene.coefficients import listed
from utils.errors import UserError


def driven_by_sequence(config: RenderConfig, avatar: Avatar, background: Tensor) -> ViewSets:
    """The avatar driven by what --driving names, beside the driver's pictures where there are some.

    Raises UserError where the driver cannot be read or has nothing that the avatar knows.
    """
    options = config.render
    sequence = read_driving(options.driving, options.fps, options.driving_angles == "degrees")
    if options.driving_pose and sequence.rotations is None:
        expected = "expected a data set, or a CSV with HeadYaw, HeadPitch and HeadRoll"
        raise UserError(f"--driving_pose: {sequence.source} has no head rotations; {expected}")
    expressions, notes = retarget(sequence, avatar)
    # What is left out below has told how the driver rests, too.
    played = replace(sequence, coefficients=expressions, rotations=_turns(sequence))
    if {"max_frames", "is_debug"} & config.given:
        played = played.thinned(config.model.max_frames)
    if "fps" in config.given:
        played = played.at_rate(options.fps)
    motion = torch.from_numpy(played.coefficients).to(background.device)
    driver = sequence.source.resolve()
    name = f"reenacted_by_{driver.name if driver.is_dir() else driver.stem}"
    turns = played.rotations if options.driving_pose else None
    views = _performed(config, avatar, name, motion, background, turns, played.pictures)
    return ViewSets(views, (*sequence.notes, *notes), sequence.rate)


def spoken(config: RenderConfig, avatar: Avatar, background: Tensor) -> ViewSets:
    """The avatar saying what is said in the file of --audio.

    Of frames that are too many the last are left out, and the face rests where a path is longer than the
    sound: nothing may move them against the sound. Raises UserError where the file has no sound, or the
    avatar none of ARKit's names.
    """
    options = config.render
    if not set(ARKIT_NAMES) & set(avatar.expression_names or ()):
        found = listed(avatar.expression_names) if avatar.expression_names else "no names"
        raise UserError(f"--audio: expected an avatar with ARKit's coefficients, found {found}")
    sequence = speak(
        options.audio,
        options.fps,
        model=options.audio_model,
        head_motion=options.head_motion,
        seed=options.audio_seed,
        quiet=options.quiet,
    )
    expressions, notes = retarget(sequence, avatar)
    if {"max_frames", "is_debug"} & config.given and config.model.max_frames > 0:
        expressions = expressions[: config.model.max_frames]
    motion = torch.from_numpy(expressions).to(background.device)
    name = f"spoken_{options.audio.stem}"
    views = _performed(config, avatar, name, motion, background, sequence.rotations[: len(motion)])
    return ViewSets(views, (*sequence.notes, *notes), sequence.rate, sound=options.audio)


def _performed(
    config: RenderConfig,
    avatar: Avatar,
    name: str,
    motion: Tensor,  # [F, E]
    background: Tensor,
    turns: np.ndarray | None = None,  # [F, 3, 3]
    pictures: Sequence[Path] | None = None,
) -> dict[str, DrivenViews]:
    """A motion along the path that the options name, else before the avatar's own camera, where the head may
    make turns and the driver's pictures stand beside it."""
    path = config.render.camera_path
    if path:
        return {f"{name}_{path_suffix(path)}": along_path(config, avatar, motion, background)}
    camera = own_camera(config, avatar)
    cameras = [camera] * len(motion) if turns is None else [_turned(camera, turn) for turn in turns]
    return {name: DrivenViews(cameras, motion, background, moves_head=True, pictures=pictures)}


def one_expression(config: RenderConfig, avatar: Avatar, background: Tensor) -> ViewSets:
    """One picture of --expression, or that face along a path. Raises UserError for names that the avatar does
    not know."""
    given = parse_expression(config.render.expression)
    expression, notes = avatar.expression(**given), ()
    if are_arkit(avatar.expression_names):
        values, count = clipped_to_unit(expression.numpy(force=True))
        expression = torch.from_numpy(values)
        notes = (f"--expression: {count} of {len(given)} coefficients clipped to [0, 1]",) if count else ()
    motion = expression[None].to(background.device)
    if config.render.camera_path:
        views = along_path(config, avatar, motion, background)
        return ViewSets({f"expression_{path_suffix(config.render.camera_path)}": views}, notes)
    views = DrivenViews([own_camera(config, avatar)], motion, background, moves_head=True)
    return ViewSets({"expression": views}, notes)


def parse_expression(text: str) -> dict[str, float]:
    """Coefficients by name from `jawOpen=0.8,eyeBlinkLeft=1`. Raises UserError."""
    coefficients = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if not name or not np.isfinite(value):
            raise UserError(f"--expression {text}: expected NAME=NUMBER,..., found '{part.strip()}'")
        if name in coefficients:
            raise UserError(f"--expression {text}: {name} occurs twice; expected once")
        coefficients[name] = value
    return coefficients


def _turns(sequence: DrivingSequence) -> np.ndarray | None:  # [F, 3, 3]
    """How the driver's head turns from its usual pose, in the camera's axes (OpenGL). A sequence made by hand
    has no usual pose: its head turns from where it looks into the camera."""
    if sequence.rotations is None or not sequence.is_footage:
        return sequence.rotations
    return sequence.rotations @ usual_rotation(sequence.rotations).T


def _turned(camera: Camera, turn: np.ndarray) -> Camera:
    """The camera, before which the head turns about its origin by a rotation [3, 3] in the camera's axes."""
    axes = OPENGL_TO_OPENCV[:3, :3]
    pose = camera.world_to_camera.double()
    pose[:3, :3] = torch.from_numpy(axes @ turn @ axes).to(pose) @ pose[:3, :3]
    return replace(camera, world_to_camera=pose.float())
