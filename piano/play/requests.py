"""Reading what a page sends: JSON of a bounded size, in the fields that are expected."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from piano.foundation.errors import ConfigError

MOST_BYTES = 16_384
Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request, kind: type[Model]) -> Model:
    """The body of a request.

    Raises
    ------
    ConfigError
        It is too large, no JSON, or not what is expected.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ConfigError(f"a request has at most {MOST_BYTES} bytes.")
    try:
        told: Any = json.loads(bytes(body) or b"{}")
    except (ValueError, RecursionError):
        raise ConfigError("a request is JSON, and this one is not.") from None
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "value_error" and not first["loc"]:  # a sentence of our own about several fields
            raise ConfigError(f"{first['msg'].removeprefix('Value error, ')[:120]}.") from None
        place = ".".join(str(part) for part in first["loc"])[:40] or "request"
        raise ConfigError(f"{place}: {first['msg'][:120]}.") from None
