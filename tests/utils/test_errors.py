import errno
import os

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


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENOTDIR])
def test_what_the_file_system_refuses_is_one_line_with_its_reason(capsys, number):
    @exit_on_user_error
    def main():
        raise OSError(number, os.strerror(number), "some/place")

    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    assert capsys.readouterr().err == f"error: some/place: {os.strerror(number)}\n"


def test_other_errors_of_the_system_are_not_hidden():
    @exit_on_user_error
    def main():
        raise OSError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        main()
