"""Why a command cannot be done, in words that say what to do; the exit code tells scripts apart whose fault it is."""

USAGE = 2
FAILED = 1


class CliError(Exception):
    """Ends the command with a message on stderr, without a traceback."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class NotAllowedError(Exception):
    """The user may not read what the scheduler has to know; the message says what."""
