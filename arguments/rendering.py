"""Every option of render.py, each declared once as in `params.py`."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass, field
from pathlib import Path

from arguments.options import device_option, option
from arguments.params import ModelParams, NetworkParams, PipelineParams


@dataclass(frozen=True)
class RenderParams:
    """Rendering: which views of the trained avatar."""

    iteration: int = option(-1, "saved iteration to render; -1 = the last one", unit="iterations", low=-1)
    skip_train: bool = option(False, "leave out the training views")
    skip_test: bool = option(False, "leave out the held-out views")
    novel_view: bool = option(False, "render a camera that swings about the y axis around the head instead")
    light: bool = option(False, "draw the light form that export.py made; results lie in light_N")
    test_time_tracking: int = option(
        0,
        "fit pose and expression of each held-out frame in so many steps through the renderer first; scored "
        "apart, in test_tracked/; 0 = off",
        unit="steps",
        low=0,
    )
    path: str | None = option(
        None,
        "novel views along a path: swing (that of --novel_view), orbit (all around), spiral (swing, up and "
        "down, nearer and farther), or a .json of cameras",
        metavar="PATH",
        shown="none",
    )
    num_frames: int = option(
        100, "length of a novel-view path", unit="frames", low=1, shown="100, or all of --driving or --audio"
    )
    max_yaw: float = option(
        30.0, "turn of the novel-view camera to either side", unit="degrees", low=0, high=180
    )
    driving: Path | None = option(
        None,
        "make the avatar do what another face does: folder of a data set, a video, .csv of Live Link Face, "
        ".json of ARKit coefficients or Audio2Face",
        shown="none",
    )
    driving_pose: bool = option(False, "with --driving: turn the head as the driver does, too")
    driving_angles: str = option(
        "radians", "unit of the head's angles in the CSV of --driving", choices=("radians", "degrees")
    )
    audio: Path | None = option(
        None,
        "make the avatar say what is said in a sound file: any that ffmpeg reads, which the film "
        "then has as its sound",
        shown="none",
    )
    audio_model: Path | None = option(
        None,
        "with --audio: a network that hears the coefficients, an ONNX file as docs/speech.md "
        "describes; needs onnxruntime",
        shown="a table made by hand",
    )
    head_motion: float = option(
        1.0, "with --audio: how much the head turns; 0 = not at all", unit="times the usual", low=0, high=5
    )
    audio_seed: int = option(0, "with --audio: seed of the blinks and of the turns of the head", low=0)
    expression: str | None = option(
        None,
        "one picture of named coefficients, the others at rest",
        metavar="NAME=X,...",
        shown="none",
    )
    stereo: bool = option(False, "draw a pair, left eye beside right eye; novel views and driven ones")
    transparent: bool = option(
        False, "pictures with alpha, and a WebM instead of the MP4; novel views and driven ones"
    )
    video_format: str = option(
        "webm",
        "with --transparent: a WebM (VP9), for browsers, or a MOV (ProRes 4444), for editors",
        choices=("webm", "mov"),
    )
    write_csv: bool = option(False, "write the coefficients that are drawn as a CSV of Live Link Face")
    fps: float = option(
        25.0,
        "frame rate of the videos",
        unit="frames/s",
        low=0.1,
        high=1000,
        shown="25, or that of --driving",
    )
    is_debug: bool = option(False, "a quick look: a small part of the frames")
    device: str = device_option()
    quiet: bool = option(False, "print errors and the final result only")

    @property
    def camera_path(self) -> str | None:
        """What the camera of novel views follows; None: none are wanted."""
        return self.path or ("swing" if self.novel_view else None)


@dataclass(frozen=True)
class RenderConfig:
    """Everything a rendering was told: the stored options of the training run under those of render.py."""

    model: ModelParams = ModelParams()
    network: NetworkParams = NetworkParams()
    pipeline: PipelineParams = PipelineParams()
    render: RenderParams = RenderParams()
    given: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=(), compare=False)


RENDER_GROUPS = {"render": RenderParams, "model": ModelParams, "pipeline": PipelineParams}
