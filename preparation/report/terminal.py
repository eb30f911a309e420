"""The report in a few lines for the terminal."""

from collections import Counter
from pathlib import Path
from typing import Any


def print_summary(report: dict[str, Any], out: Path) -> None:
    """Print what a person wants to know at once; everything else is in report/report.json."""
    photometric, jitter = report["photometric_px"], report["jitter"]
    dropped = Counter(reason.partition(" (")[0] for reason in report["dropped"].values())
    print(f"{out}: {report['frames']} frames at {report['rate']:.4g} per second")
    print(f"  focal length        {report['focal']['pixels']:.0f} px, {report['focal']['source']}")
    print(
        f"  residual flow       {photometric['mean']:.2f} px mean, "
        f"{photometric['worst_frame']:.2f} px in the worst frame "
        f"({photometric['mean_with_landmark_poses']:.2f} px mean with poses from landmarks alone)"
    )
    print(f"  reprojection        {report['reprojection_px']['mean']:.2f} px mean")
    print(
        f"  jitter              {jitter['landmarks']['degrees']:.3f} degrees by landmarks, "
        f"{jitter['before_smoothing']['degrees']:.3f} by pixels, "
        f"{jitter['after_smoothing']['degrees']:.3f} smoothed"
    )
    _print_head(report["head"])
    if dropped:
        print("  frames dropped      " + ", ".join(f"{count} {reason}" for reason, count in dropped.items()))
    for note in report["notes"]:
        print(f"  note: {note}")
    print(f"  look at {out / 'report' / 'contact_sheet.png'}")
    print(f"  then: python train.py -s {out} -m output/{out.name} --eval")


def _print_head(head: dict[str, Any]) -> None:
    """Say what was tracked, how well, and what the clip does not show."""
    if head["model"]:
        explained = head["explained_motion"]
        print(f"  head model          {head['model']['name']}, expressions {head['expressions']}")
        print(f"  motion explained    {_shares(explained['solved'])}")
        print(f"  by scores, unseen   {_shares(explained['from_scores_held_out'])}")
    print(f"  the head            {head['verdict']}")
    if not head["depth"]["is_told"]:
        print(f"  depth               {head['depth']['meaning']}")


def _shares(explained: dict[str, float]) -> str:
    return ", ".join(f"{explained[region]:.2f} {region}" for region in ("all", "mouth", "jaw"))
