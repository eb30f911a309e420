"""How an option is declared: what fields of the dataclasses of options hold besides their default."""

from dataclasses import field
from typing import Any


class Seconds(float):
    """The type of an option that is a time in a video, given as seconds or minutes:seconds."""


class Positive(float):
    """The type of an option that is a number above zero, however small."""


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    short: str = "",
    low: float | None = None,
    high: float | None = None,
    shown: str = "",
    rescaled: bool = False,
    is_experiment: bool = False,
    flag: str = "",
    metavar: str = "",
    choices: tuple[str, ...] = (),
    alone: Any = None,
) -> Any:
    """Declare one option; see `parser.py` and `validation.py` for what each property does.

    `low`, `high`: smallest and largest value allowed. `shown`: how help shows a default that says nothing by
    itself. `rescaled`: an iteration number that follows --iterations. `is_experiment`: tests a claim of the
    paper; help lists it apart from what a user needs. `flag`: how it is spelled where that is not --name;
    without dashes it is an argument known by its place. `metavar`: what help writes for the value. `choices`:
    the values that are allowed. `alone`: the value of the flag without one.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "unit": unit,
            "short": short,
            "low": low,
            "high": high,
            "shown": shown,
            "rescaled": rescaled,
            "is_experiment": is_experiment,
            "flag": flag,
            "metavar": metavar,
            "choices": choices,
            "alone": alone,
        },
    )


def device_option():
    """Where a script computes."""
    return option("auto", "where to compute: auto, cpu, cuda, cuda:N (auto: CUDA when usable, else the CPU)")


def port_option():
    """Where a page is served."""
    return option(
        None,
        "port of the viewer's page; one that is named must be free",
        low=0,
        high=65535,
        shown="8080, or the next free one",
    )
