"""Takes out of objects and texts whatever is, or looks like, a credential. Rather too much than too little. Pure.

Three rules: a value whose name says credential goes; of variables of the environment only those are kept whose names are known to be
harmless; and every text, logs too, is searched for what credentials look like.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

REDACTED = "[redacted]"
_NAMES_A_CREDENTIAL = re.compile(
    r"passw|passphrase|secret|token|credential|api.?key|access.?key|private.?key|signing.?key|encryption.?key|authoriz|cookie|session|bearer|dsn|connection.?string|sas$|^auth$|kubeconfig|dockerconfig|netrc",
    re.IGNORECASE,
)
_HARMLESS_VARIABLES = re.compile(
    r"^(TRAINYARD_|PET_|NCCL_|OMP_|MKL_|CUDA_|NVIDIA_|TORCH_|PYTORCH_|PYTHONUNBUFFERED$|PYTHONHASHSEED$|TZ$|LANG$|LC_|TF_CPP_|WORLD_SIZE$|RANK$|LOCAL_RANK$|MASTER_(ADDR|PORT)$)"
)
_HARMLESS_KEYS = frozenset(
    {
        # References and numbers of ours, whose names only look bad.
        "automountServiceAccountToken",
        "apiKeysSecret",
        "publicKeySecret",
        "secretName",
        "secretKeyRef",
        "secretRef",
        "imagePullSecrets",
        "serviceAccountToken",
        "maxTokens",
        "tokens",
    }
)
_DROPPED = frozenset({"managedFields", "kubectl.kubernetes.io/last-applied-configuration"})
_PATTERNS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        (r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", 0),  # JSON web tokens
        (r"(?<=Bearer )\S+|(?<=bearer )\S+|(?<=Basic )[A-Za-z0-9+/=]{6,}", 0),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}", 0),
        (
            r"\b(?:gh[opsur]_|github_pat_|glpat-|xox[a-z]-|hf_|sk-|pk_live_|rk_live_|sk_live_|npm_|pypi-|AIza|ya29\.|SG\.|dop_v1_)[\w.-]{10,}",
            0,
        ),
        (r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)", 0),  # user and password of an address
        (
            r"(?<=[?&])(?:[^=&\s]*(?:sig|signature|token|secret|key|password|credential)[^=&\s]*)=[^&\s\"']+",
            re.IGNORECASE,
        ),
        (
            r"(?<![\w-])[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential|authorization)[\w-]*\\?[\"']?\s*[=:]\s*\\?[\"']?[^\s\"',;}\\]{3,}",
            re.IGNORECASE,
        ),
        (r"--?[\w-]*(?:password|passwd|secret|token|api-?key|access-?key|credential)[\w-]*\s+[^\s-]\S*", re.IGNORECASE),
    )
)
_RANDOM = re.compile(r"(?<![\w+/=.-])(?=[\w+/=-]*[a-z])(?=[\w+/=-]*[A-Z])(?=[\w+/=-]*\d)[\w+/-]{32,}={0,2}(?![\w+/=-])")
"""Long, with letters of both sizes and digits: names, uids and digests are not so."""
_OPTION = re.compile(r"^--?[\w-]*(?:passw|secret|token|api-?key|access-?key|credential|auth)[\w-]*$", re.IGNORECASE)


class Redactor:
    """Counts what it takes out."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        """By kind of place."""

    def text(self, text: str) -> str:
        """A text without what looks like credentials."""
        for pattern in (*_PATTERNS, _RANDOM):
            text, count = pattern.subn(REDACTED, text)
            self.taken["in texts"] += count
        return text

    def object(self, value: Any) -> Any:
        """A value of JSON in the same shape."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): each for key, each in self._fields(value)}
        if isinstance(value, list | tuple):
            return self._list(list(value))
        return self.text(value) if isinstance(value, str) else value

    def _fields(self, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, each in value.items():
            if key in _DROPPED:
                self.taken["fields that repeat others"] += 1
            elif key == "env" and isinstance(each, list):
                yield key, [self._variable(one) for one in each]
            elif key not in _HARMLESS_KEYS and _NAMES_A_CREDENTIAL.search(key) and _is_value(each):
                self.taken["by the name of the field"] += 1
                yield key, REDACTED
            else:
                yield key, self.object(each)

    def _variable(self, variable: Any) -> Any:
        """A variable of a container: a reference stays, a value if its name is known to be harmless."""
        if not isinstance(variable, Mapping) or "value" not in variable:
            return self.object(variable)
        name = str(variable.get("name", ""))
        if _HARMLESS_VARIABLES.match(name) and not _NAMES_A_CREDENTIAL.search(name):
            return self.object(variable)
        self.taken["variables of the environment"] += 1
        return {**variable, "name": self.text(name), "value": REDACTED}

    def _list(self, values: list[Any]) -> list[Any]:
        """A list; of a command, what follows `--token` goes with it."""
        found, hide = [], False
        for each in values:
            if hide and isinstance(each, str):
                self.taken["arguments of commands"] += 1
                found.append(REDACTED)
            else:
                found.append(self.object(each))
            hide = isinstance(each, str) and bool(_OPTION.match(each))
        return found


def _is_value(value: Any) -> bool:
    """Something that a credential may be; a switch or a number of bytes is none."""
    return (isinstance(value, str) and bool(value)) or isinstance(value, Mapping | list)
