"""The contract of a function as a document, and what is made of one where the function is not."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from jackfield.contract import fits
from jackfield.contract.payload import compile_result, payload_schema, result_schema
from jackfield.errors import ContractError, Fault, Unavailable
from jackfield.model.spec import MISSING, Colour, FunctionSpec, Parameter, PayloadShape, Policy, RemoteContract
from jackfield.text import printable
from jackfield.wire.signature import shown_parameters, shown_result

_SHAPES: Final = frozenset(get_args(PayloadShape))
_KINDS: Final = {kind.name.lower(): kind for kind in inspect._ParameterKind}  # noqa: SLF001  # what `Parameter.kind` is


def contract_of(spec: FunctionSpec) -> dict[str, Any]:
    """Give what others may know of a function's contract, as plain data.

    Args:
        spec: the function.
    """
    shown = zip(spec.parameters, shown_parameters(spec), strict=True)
    return {
        "shape": spec.shape,
        "parameters": [
            {"name": each.name, "kind": each.kind.name.lower(), "required": each.default is MISSING, "shown": text}
            for each, text in shown
        ],
        "returns": shown_result(spec),
        "idempotent": spec.policy.idempotent,
        "payload_schema": payload_schema(spec),
        "result_schema": result_schema(spec),
    }


def spec_of(document: Mapping[str, Any]) -> FunctionSpec:
    """Make of such a document what there is to know of the function elsewhere.

    Args:
        document: as `contract_of` gives it, with `name`, `version`, `plugin` and `about`; of an older host some of it
            is missing.
    """
    shape: Any = document.get("shape")
    parameters = [each for each in _list(document.get("parameters")) if isinstance(each, dict)]
    return FunctionSpec(
        _text(document.get("name")),
        _text(document.get("version")),
        _text(document.get("plugin")),
        "",
        _elsewhere,
        Colour.ASYNC,
        shape=shape if shape in _SHAPES else "many",
        parameters=tuple(_parameter(each) for each in parameters),
        policy=Policy(idempotent=document.get("idempotent") is True),
        summary=_text(document.get("about")),
        remote=RemoteContract(
            _schema(document.get("payload_schema")),
            _schema(document.get("result_schema")),
            tuple(_text(each.get("shown")) for each in parameters),
            _text(document.get("returns")),
        ),
    )


def converter(spec: FunctionSpec, payload: Any, result: Any) -> Callable[[Any], Any] | None:
    """Check a contract against the types of a caller, and give what makes a result one of them, if anything must.

    Raises:
        ContractError: if it does not fit, with what differs.
    """
    differences = fits(spec, payload, result)
    if differences:
        fix = f"use the types that `pluginctl info {spec.name} --host URL` shows"
        faults = tuple(Fault("contract", spec.plugin, spec.key, text, fix) for text in differences)
        raise ContractError(spec.name, faults)
    return compile_result(spec.name, result)


def _elsewhere() -> None:
    raise Unavailable("the function", "it is not in this process, only its contract is")


def _parameter(document: Mapping[str, Any]) -> Parameter:
    kind = _KINDS.get(_text(document.get("kind")), inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return Parameter(_text(document.get("name")), kind, Any, MISSING if document.get("required") is True else None)


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _schema(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
