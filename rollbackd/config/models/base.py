"""What all models of the file have in common."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from rollbackd.config.quantities import fault, shown
from rollbackd.config.secrets import Secret


class Model(BaseModel):
    """A mapping of the file: unknown keys are refused, docstrings under fields describe them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # the whole is built when it is used, not each part at import, too
    )


def default(text: object) -> Any:  # noqa: ANN401 - as pydantic's Field: the annotation is the type
    """Declare an optional key; its default is written, and validated, as in the file."""
    return Field(default=text)


_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        raise fault(
            f"{shown(text)} cannot be a name",
            "up to 63 letters, digits, - _ and ., beginning and ending with a letter or digit",
        )
    return text


def _label_name(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", text):
        raise fault(f"{shown(text)} cannot be a metric label", "letters, digits and _ only")
    return text


def _address(text: str) -> str:
    host_and_port(text)
    return text


def host_and_port(text: str) -> tuple[str, int]:
    """Split ``host:port``; IPv6 hosts are in brackets.

    Raises:
        PydanticCustomError: it is not of this form.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", text)
    if found is None:
        raise fault(f"{shown(text)} is not host:port", "such as 127.0.0.1:9469 or [::1]:9469")
    port = int(found[3])
    if not 0 < port < 65536:  # noqa: PLR2004 - TCP has 16 bits for it
        raise fault(f"{port} is not a port", "1 to 65535")
    return found[1] or found[2], port


def _url(text: str) -> str:
    found = re.fullmatch(r"(https?)://([^/\s?#]+)(/[^\s?#]*)?", text)
    if found is None:
        raise fault(f"{shown(text)} is not a base URL", "such as http://prometheus:9090")
    if "@" in found[2]:
        # What is in the URL ends up in logs.
        raise fault("a URL must not hold a user or a password", "use basic_auth")
    return text.rstrip("/")


Text = Annotated[str, Field(min_length=1)]
"""Text, not empty."""

Name = Annotated[
    Text,
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 63, "pattern": f"^{_NAME}$"}),
]
"""A name that can stand in metrics, URLs and annotations."""

LabelName = Annotated[Text, AfterValidator(_label_name)]
"""The name of a metric label."""

Address = Annotated[Text, AfterValidator(_address)]
"""``host:port``."""

Url = Annotated[Text, AfterValidator(_url)]
"""An ``http://`` or ``https://`` base address."""

Bool = StrictBool
"""true or false; nothing that merely looks like it."""


def path(base: Path, text: str | None) -> Path | None:
    """Return a file name of the file; relative ones are relative to ``base``."""
    return None if text is None else base / Path(text).expanduser()


def secret(base: Path, file: str | None, env: str | None) -> Secret | None:
    """Return where a secret is, or None when there is none."""
    return Secret(path(base, file), env) if file or env else None


def one_secret(base: Path, file: str | None, env: str | None) -> Secret:
    """Return where the secret of a ``WithSecret`` is."""
    found = secret(base, file, env)
    assert found is not None, "the model lets exactly one of them pass"  # noqa: S101
    return found


class WithSecret(Model):
    """What is signed with a secret that is kept elsewhere."""

    secret_file: Text | None = None
    """File that holds the secret; read at every use, so it may be replaced."""
    secret_env: Text | None = None
    """Environment variable that holds the secret."""

    @model_validator(mode="after")
    def _one(self) -> "WithSecret":
        if (self.secret_file is None) == (self.secret_env is None):
            raise fault("exactly one of secret_file and secret_env is needed")
        return self
