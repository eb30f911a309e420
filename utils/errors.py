"""Bad user input as one exception type, and how the scripts report it: one line on stderr, exit code 2."""

import errno
import functools
import sys
from collections.abc import Callable

# What a file system says to a user, not to a programmer: rights, read-only or full disks, names.
_REFUSALS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
}


class UserError(Exception):
    """Bad user input: the message names the flag or file, what was expected and what was there."""


class WriteError(UserError):
    """A file system that refuses to write: what was there before is still there."""


def exit_on_user_error(main: Callable) -> Callable:
    """Decorate a script's `main`: a UserError or a file system's refusal becomes one line, exit code 2."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            message = str(error)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print("error: " + " ".join(message.split()), file=sys.stderr)
        sys.exit(2)

    return wrapped
