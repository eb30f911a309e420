import pytest

from utils.errors import UserError, exit_on_user_error


def test_user_error_is_one_line_on_stderr_and_exit_code_2(capsys):
    @exit_on_user_error
    def main():
        raise UserError("a.json: w: expected a number,\n    found nothing")

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == "error: a.json: w: expected a number, found nothing\n"
    assert captured.out == ""


def test_other_errors_and_results_pass_through():
    @exit_on_user_error
    def main(value):
        if value < 0:
            raise ValueError(value)
        return value + 1

    assert main(1) == 2
    with pytest.raises(ValueError, match="-1"):
        main(-1)
