"""The table of fleet.py: what is read of it, and the one line about what is wrong in it."""

import pytest

from fleets.rows import read_rows
from tests.fleets.stand_in import write_table
from utils.errors import UserError


@pytest.fixture
def read(tmp_path):
    return lambda text: read_rows(write_table(tmp_path / "people.csv", text))


def test_columns_are_options_and_empty_cells_are_none(read, tmp_path):
    video = tmp_path / "my film.mp4"
    video.touch()
    first, second = read(
        "name,source,iterations,only_head,test_iterations,options,prepare_options\n"
        f"a_1,{video},50,True,10 20,--preset quick -w,--start 2 --no-torso\n"
        "\n"
        "b,DATA,,,,,\n"
    )
    assert first.name == "a_1" and first.source == video and first.is_video
    numbers = ("--iterations", "50", "--only_head", "True", "--test_iterations", "10", "20")
    assert first.train_flags == (*numbers, "--preset", "quick", "-w")
    assert first.prepare_flags == ("--start", "2", "--no-torso")
    assert second.source == tmp_path / "data" and not second.is_video
    assert second.train_flags == second.prepare_flags == ()


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    table = write_table(tmp_path / "people.csv", "name,source\r\nb,DATA\r\n")
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert [row.name for row in read_rows(table)] == ["b"]


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_of_excel_is_read_whatever_it_puts_between_cells(tmp_path, between):
    """Of a country whose decimals have commas, with columns that were emptied, and capitals in the header."""
    lines = ("Name,Source,Options,,", "änne,DATA,--preset quick -w,,", ",,,,", "b,DATA,,,")
    table = write_table(tmp_path / "people.csv", "\r\n".join(lines).replace(",", between))
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    first, second = read_rows(table)
    assert (first.name, first.train_flags) == ("änne", ("--preset", "quick", "-w"))
    assert (second.name, second.train_flags) == ("b", ())


def test_rows_behind_a_hash_are_left_out(read):
    rows = read('# of monday, and "more"\nname,source\na,DATA\n#b,DATA\n# c: no\nd,DATA\n')
    assert [row.name for row in rows] == ["a", "d"]


def test_a_table_that_is_not_utf8_is_told_what_to_do(tmp_path):
    for encoding in ("latin-1", "utf-16"):
        (tmp_path / "people.csv").write_bytes("name,source\nä,data\n".encode(encoding))
        with pytest.raises(UserError, match="expected UTF-8; in Excel save it as CSV UTF-8"):
            read_rows(tmp_path / "people.csv")


@pytest.mark.parametrize("column", ["options", "prepare_options"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_no_option_of_a_row(read, column, flag):
    """argparse prints it and exits with 0, as if all had been done."""
    with pytest.raises(UserError, match=r"line 2.*: --help makes no avatar"):
        read(f"name,source,{column}\nb,DATA/transforms.json,{flag}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column name"),
        ("name,source\n", "no rows"),
        ("name source\nb DATA\n", "expected commas"),
        ("name,source,\nb,DATA,x\n", "column (empty): no option of train.py"),
        ("name,source\nb\n", "line 2: 1 cells; expected 2"),
        ('name,source\n"b,DATA\n', "cannot be read as CSV"),
        ("name,source,name\nb,DATA,b\n", "two columns name"),
        ("name,source,iteration\nb,DATA,3\n", "did you mean iterations?"),
        ("name,source,model_path\nb,DATA,x\n", "column model_path: fleet.py says that itself"),
        ("name,source\nb,DATA\nB,DATA\n", "line 3: the name B is that of line 2"),
        ("name,source\na/b,DATA\n", "line 2, name a/b"),
        ("name,source\n..,DATA\n", "line 2, name .."),
        ("name,source\n,DATA\n", "line 2, name nothing"),
        ("name,source\nb,missing.mp4\n", "line 2, source missing.mp4: no such file"),
        ("name,source\nb,\n", "line 2, source: nothing"),
        ("name,source\nb,DATA/..\n", "holds no transforms.json"),
        ("name,source,iterations\nb,DATA,many\n", "line 2: --iterations: expected an integer"),
        ("name,source,preset\nb,DATA,fast\n", "line 2: --preset fast"),
        ("name,source,options\nb,DATA,'--preset\n", "line 2, options"),
        ("name,source,options\nb,DATA,--iteratoins 3\n", "did you mean --iterations?"),
        ("name,source,options\nb,DATA,-m x\n", "line 2, --model_path: fleet.py says"),
        ("name,source,options\nb,DATA,--device cpu\n", "line 2, --device: fleet.py says"),
        ("name,source,eval\nb,DATA,False\n", "--eval False"),
        ("name,source,prepare_options\nb,DATA,--no-torso\n", "prepare_options: only goes with a video"),
        ("name,source,prepare_options\nb,DATA/transforms.json,--size 3\n", "prepare_options: --size 3"),
        ("name,source,prepare_options\nb,DATA/transforms.json,--overwrite\n", "fleet.py's to say"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(read, text, words):
    with pytest.raises(UserError) as error:
        read(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
