import pytest

from utils.tables import markdown_table


def test_columns_are_aligned_numbers_to_the_right():
    table = markdown_table(
        [["run", "PSNR", "pair"], ["a long name", "9.5", "1 / 2"], ["b", "-10.25", "3 / 4"]]
    )
    assert table.splitlines() == [
        "| run         |   PSNR |  pair |",
        "| ----------- | -----: | ----: |",
        "| a long name |    9.5 | 1 / 2 |",
        "| b           | -10.25 | 3 / 4 |",
    ]


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="expected equal lengths"):
        markdown_table([["a", "b"], ["c"]])
