"""Calls whose arguments do not fit, answered by those that there are.

A decorated function costs a frame more. So what is called for each message or chunk is left to Python's own text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from meshsync.hints import each

__all__ = ["hinted_call", "made_by", "near_argument"]

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = {
    "message": each("msg body payload data text content json", "message"),
    "to": each("recipient receiver participant peer target destination", "to"),
    "type": each("message_type kind event topic subject msg_type", "type"),
    "name": each("user username participant_name display_name nick client_id", "name"),
    "url": each("uri address host server endpoint base_url room_url", "url"),
    "room": each("room_name channel", "room"),
    "token": each("jwt access_token auth", "token"),
    "api_key": each("key apikey secret", "api_key"),
    "timeout": each("wait seconds timeout_s timeout_seconds timeout_ms deadline max_wait", "timeout"),
    "latency": each("delay ping rtt latency_ms", "latency"),
    "seed": each("random_seed rng", "seed"),
    "seeds": each("runs count examples seed_range", "seeds"),
    "header": each("headers metadata", "header"),
    "on_stream_accept": each("callback accept on_stream handler", "on_stream_accept"),
    "sender": each("from_ from_participant participant", "sender"),
    "retry": each("retries", "retry"),
}
"""By parameter, what others call it."""


def hinted_call(function: F) -> F:
    """Return a function that names, where a call's arguments do not fit, those that it takes."""
    return _hinted(function, "")


def made_by(instead: str) -> Callable[[F], F]:
    """Return a decorator as `hinted_call`, for what programs do not call: the error says what they do instead."""
    return lambda function: _hinted(function, instead)


def _hinted(function: F, instead: str) -> F:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:
                raise  # From inside: the function was begun.
            # Without the name of a mixin, and the guess of later Pythons.
            text = str(error).replace(function.__qualname__, function.__qualname__.partition(".__init__")[0])
            text = re.sub(r"^\w+\.(?=\w+\()|\. Did you mean '\w+'\?$", "", text)
            hint = instead or _hint(inspect.signature(function).parameters, kwargs)
        raise TypeError(f"{text}: {hint}")

    return cast(F, call)


def _hint(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, object]) -> str:
    """Return what to write in place of arguments that do not fit."""
    own = [name for name in parameters if name != "self"]
    for name in given:
        if name not in parameters and (near := near_argument(name, own)):
            return f"it is {near}="
    return f"it takes {_written(parameters)}"


def near_argument(name: str, own: Sequence[str]) -> str:
    """Return the parameter that a wrong name stands for; "" if that is not clear."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if snake in own:
        return snake
    for known in own:
        if snake in _NAMES.get(known, ()):
            return known
    from difflib import get_close_matches  # Few programs need it.

    return next(iter(get_close_matches(snake, own, 1, 0.7)), "")


def _written(parameters: Mapping[str, inspect.Parameter]) -> str:
    """Return the parameters as a call writes them: by place, and then those by name alone."""
    by_place, by_name = [], []
    for one in parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            by_name.append(f"{one.name}=")
        elif one.kind is one.VAR_POSITIONAL:
            by_place.append(f"*{one.name}")
        elif one.kind is not one.VAR_KEYWORD and one.name != "self":
            by_place.append(one.name if one.default is one.empty else f"[{one.name}]")
    return ", ".join(by_place or ["nothing"]) + (f" by place; by name {', '.join(by_name)}" if by_name else "")
