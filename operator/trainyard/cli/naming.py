"""How people name a job or a service: NAME, or tyj/NAME and tyi/NAME as kubectl prints them."""

from trainyard.cli.errors import CliError

_KINDS = {
    "TrainingJob": ("tyj", "trainingjob", "trainingjobs"),
    "InferenceService": ("tyi", "inferenceservice", "inferenceservices"),
}


def kind_and_name(text: str) -> tuple[str | None, str]:
    """The kind is None where none is named. Raises CliError for a kind that is neither."""
    kind, slash, name = text.rpartition("/")
    if not slash:
        return None, text
    found = next(
        (known for known, names in _KINDS.items() if kind.lower().removesuffix(".trainyard.dev") in names), None
    )
    if found is None:
        raise CliError(f"{text}: {kind!r} is no kind that waits; expected tyj/{name} or tyi/{name}")
    return found, name


def job_name(text: str) -> str:
    """The name of a TrainingJob. Raises CliError for another kind."""
    kind, name = kind_and_name(text)
    if kind not in (None, "TrainingJob") or not name:
        raise CliError(
            f"{text}: expected the name of a TrainingJob, as in {name or 'digits'} or tyj/{name or 'digits'}"
        )
    return name
