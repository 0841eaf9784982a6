"""Why a method cannot be tried on a model or a machine at all."""


class UnsuitableError(Exception):
    """The variant is refused before it is measured; the message begins with what it needs."""
