"""Render a trained avatar.

    python render.py -m output/id1                  the training and the held-out views, with scores
    python render.py -m output/id1 --novel_view     a camera that swings about the y axis around the head
    python render.py -m output/id1 --light          the light form that export.py made
    python render.py -m output/id1 --driving data/id2           the avatar does what another face does
    python render.py -m output/id1 --driving clip.mp4           as one in a video does
    python render.py -m output/id1 --audio speech.wav           it says what is said there, with the sound
    python render.py -m output/id1 --expression jawOpen=0.8     one picture

Everything that train.py was told is read from output/id1/config.json; what is given here wins. Results lie in
output/id1/{train,test,novel_view,...}/ours_N/, those of the light form in light_N/.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from arguments import RenderConfig, parse_render_args
from utils.errors import UserError, exit_on_user_error
from utils.startup import leave, prepare_environment

if TYPE_CHECKING:
    from rendering.sets import ViewSets
    from scene.avatar import Avatar
    from scene.views import HeadView

# Frames between two looks at the PSNR.
PSNR_INTERVAL = 10


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    config = parse_render_args(argv)
    prepare_environment()
    from rendering.driving.live_link import check_arkit_names
    from rendering.driving.reading import is_video
    from rendering.test_time_tracking import TrackedViews
    from rendering.views import view_sets
    from scene import load_avatar, load_light_avatar
    from utils.device import choose_device

    if is_video(config.render.driving):
        config = replace(config, render=replace(config.render, driving=tracked(config)))
    device = choose_device(config.render.device)
    load = load_light_avatar if config.render.light else load_avatar
    avatar = load(config.model.model_path, config.render.iteration, device)
    if config.render.write_csv:
        check_arkit_names(config.model.model_path, avatar.expression_names)
    chosen = view_sets(config, avatar, device)
    for note in (*config.notes, *chosen.notes) if not config.render.quiet else ():
        print(note, file=sys.stderr)

    sets, num_steps = chosen.sets, config.render.test_time_tracking
    if chosen.is_scored and (config.render.stereo or config.render.transparent):
        flag = "--stereo" if config.render.stereo else "--transparent"
        raise UserError(f"{flag}: views that are scored are drawn as filmed; add --path, --driving or such")
    if num_steps and chosen.is_scored:
        sets = {
            f"{name}_tracked": TrackedViews(views, avatar, num_steps, config.pipeline)
            for name, views in sets.items()
            if name in ("val", "test")
        }
    if not any(len(views) for views in sets.values()):
        raise UserError(f"nothing to render: {why_nothing(config)}")
    for name, views in sets.items():
        if len(views):
            render_set(config, name, views, avatar, chosen)


def why_nothing(config: RenderConfig) -> str:
    """What leaves no frame of the clip to be drawn."""
    options = config.render
    held_out = "--skip_test was given" if options.skip_test else "the run held no frames out (--eval)"
    others = (
        "--test_time_tracking draws no others" if options.test_time_tracking else "--skip_train was given"
    )
    return f"{held_out}, and {others}"


def tracked(config: RenderConfig) -> Path:
    """The data set that the video of --driving is made into, beside what it drives."""
    from preparation.driver import track_driver

    video = config.render.driving
    return track_driver(video, config.model.model_path / "drivers" / video.stem, config.render.quiet)


def render_set(
    config: RenderConfig, name: str, views: Collection[HeadView], avatar: Avatar, chosen: ViewSets
) -> None:
    """Render all views of a set into its folder and print its scores; at the rate of what was chosen, unless
    --fps says."""
    from rendering.drawing import draw_views
    from rendering.drawn_motion import DrawnMotion
    from rendering.writer import RenderWriter
    from utils.progress import Progress
    from utils.video import SoundTrack

    options = config.render
    form = "light" if options.light else "ours"
    folder = config.model.model_path / name / f"{form}_{avatar.iteration}"
    fps = options.fps if chosen.rate is None or "fps" in config.given else chosen.rate
    writer = RenderWriter(
        folder,
        split=name,
        iteration=avatar.iteration,
        fps=fps,
        alpha_format=options.video_format if options.transparent else None,
        has_film=len(views) > 1 or chosen.sound is not None,
        sound=None if chosen.sound is None else SoundTrack(chosen.sound, len(views) / fps),
    )
    motion = DrawnMotion(avatar, fps)
    progress = Progress(len(views), f"rendering {name}", quiet=options.quiet)
    with writer, progress:
        for index, (view, drawn) in enumerate(
            draw_views(avatar.head, views, config.pipeline, options.stereo)
        ):
            writer.write(
                index, drawn.image, view.truth, drawn.depth, drawn.alpha, view.image_id, view.companion
            )
            if options.write_csv:
                motion.add(view.drive)
            # A look at a score waits for the device.
            psnr = writer.latest_psnr() if index % PSNR_INTERVAL == 0 else None
            progress.update(**({} if psnr is None else {"PSNR": psnr}))
    if options.write_csv:
        motion.write_csv(folder / "live_link.csv")
    means = writer.means()
    scored = f"PSNR {means['psnr']:.2f} dB  SSIM {means['ssim']:.4f}  L1 {means['l1']:.4f}  " if means else ""
    print(f"{name}: {scored}{len(views)} frames in {folder}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    leave()
