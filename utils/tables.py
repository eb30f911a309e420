"""Tables as Markdown that also reads well as plain text."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out a heading and rows of equal length, columns aligned: text to the left, numbers to the right."""
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"rows: expected equal lengths, got {sorted(lengths)}")
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(lengths.pop())]
    is_number = [all(_is_number(row[i]) for row in rows[1:]) for i in range(len(widths))]
    rule = ["-" * (width - right) + ":" * right for width, right in zip(widths, is_number)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number)
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def _is_number(text: str) -> bool:
    return text[:1] in set("0123456789-") or text.startswith("inf")
