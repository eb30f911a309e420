"""Bad user input as one exception type, and how the scripts report it: one line on stderr, exit code 2."""

import functools
import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad user input: the message names the flag or file, what was expected and what was there."""


def exit_on_user_error(main: Callable) -> Callable:
    """Decorate a script's `main` so that a UserError is printed as one line and the process exits with 2."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print("error: " + " ".join(str(error).split()), file=sys.stderr)
            sys.exit(2)

    return wrapped
