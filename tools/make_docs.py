"""Rewrite what docs/*.md repeat of the code: python tools/make_docs.py

A region lies between `<!-- generated: NAME -->` and `<!-- end -->`; GENERATED says what stands in it. Option
tables are plain text, since the meaning of an option does not fit into one line of a Markdown table.
tests/test_readme.py fails where a page is out of date.
"""

import re
import sys
import textwrap
from dataclasses import Field, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from arguments.exporting import EXPORT_GROUPS
from arguments.fleet import FLEET_GROUPS
from arguments.importing import IMPORT_GROUPS
from arguments.params import TRAIN_GROUPS
from arguments.parser import help_sections, shown_value, spelling
from arguments.preparation import PREPARATION_GROUPS
from arguments.presets import PRESETS
from arguments.rendering import RenderParams
from arguments.scoring import SCORING_GROUPS
from arguments.viewing import VIEWING_GROUPS

ROOT = Path(__file__).resolve().parent.parent
REGION = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
HEADINGS = ("option", "meaning", "unit", "default", "range")
# Characters; with a blank between them a line has 112.
WIDTHS = (26, 46, 10, 14, 12)


def main() -> None:
    for path in sorted((ROOT / "docs").glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"rewritten: {path.relative_to(ROOT)}")


def rewritten(page: str) -> str:
    """The page with its generated regions as the code has them now."""
    return REGION.sub(lambda region: f"{region[1]}{GENERATED[region[2]]()}\n{region[3]}", page)


def option_tables(groups: dict[str, type]) -> str:
    """A heading and a table for each section of --help."""
    tables = []
    for title, description, options in help_sections(groups):
        lines = [*_row(HEADINGS), " ".join("-" * width for width in WIDTHS)]
        for option, _ in options:
            lines += _row((_name(option), _meaning(option), _unit(option), _default(option), _range(option)))
        tables.append("\n".join([f"**{title}.** {description}".strip(), "", "```text", *lines, "```"]))
    return "\n\n".join(tables)


def preset_table() -> str:
    """What the presets change of `paper`, one row for each option."""
    others = [name for name, values in PRESETS.items() if values]
    rows = [["option", "paper", *others]]
    for group in TRAIN_GROUPS.values():
        for option in fields(group):
            values = [PRESETS[name].get(option.name, option.default) for name in others]
            if any(value != option.default for value in values):
                rows.append([f"`--{option.name}`", shown_value(option.default), *map(shown_value, values)])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


GENERATED = {
    "train.py": lambda: option_tables(TRAIN_GROUPS),
    "render.py": lambda: option_tables({"render": RenderParams}),
    "metrics.py": lambda: option_tables(SCORING_GROUPS),
    "export.py": lambda: option_tables(EXPORT_GROUPS),
    "import_checkpoint.py": lambda: option_tables(IMPORT_GROUPS),
    "viewer.py": lambda: option_tables(VIEWING_GROUPS),
    "prepare.py": lambda: option_tables(PREPARATION_GROUPS),
    "fleet.py": lambda: option_tables(FLEET_GROUPS),
    "presets": preset_table,
}


def _row(cells: tuple[str, ...]) -> list[str]:
    """Lines of a row, each cell wrapped to its column."""
    columns = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(cells, WIDTHS)]
    lines = []
    for number in range(max(map(len, columns))):
        parts = [column[number] if number < len(column) else "" for column in columns]
        lines.append(" ".join(part.ljust(width) for part, width in zip(parts, WIDTHS)).rstrip())
    return lines


def _name(option: Field) -> str:
    short = f"-{option.metadata['short']}, " if option.metadata["short"] else ""
    return f"{short}{spelling(option)}{' *' if option.metadata['rescaled'] else ''}"


def _meaning(option: Field) -> str:
    return option.metadata["help"].replace("%%", "%")


def _unit(option: Field) -> str:
    return option.metadata["unit"]


def _default(option: Field) -> str:
    return (option.metadata["shown"] or shown_value(option.default)).replace("%%", "%")


def _range(option: Field) -> str:
    if option.name == "preset":
        return " ".join(PRESETS)
    low, high = option.metadata["low"], option.metadata["high"]
    if high is None:
        return "" if low is None else f">= {low:g}"
    return f"<= {high:g}" if low is None else f"{low:g} to {high:g}"


if __name__ == "__main__":
    main()
