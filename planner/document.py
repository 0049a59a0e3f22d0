"""A YAML or JSON file read into a pydantic model, with errors that name the line and the remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from planner.errors import UserError

M = TypeVar("M", bound=BaseModel)
KeyPath = tuple[str | int, ...]


# Far above any configuration; a file of a gigabyte, or one that says ten words a million times over
# by aliases of aliases, must not keep a start from failing.
_MOST_BYTES = 1024 * 1024
_MOST_REPEATED = 10_000


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, with 1e-5 a number, as everywhere else."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT002
        """Make the value; one that looks like a date, a number or a flag and is none is told."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:40]!r} is no {kind}", node.start_mark
            ) from error


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)

_QUOTE = "'"

# What a number with this ending is, as one would say it to its author.
_UNITS = {
    "_seconds": "seconds as a number, e.g. 2.0",
    "_fraction": "a fraction between 0 and 1, e.g. 0.95",
    "_per_second": "a rate per second as a number, e.g. 12.5",
    "_bytes": "bytes as a number, e.g. 65536",
    "_tokens": "a number of tokens, e.g. 4096",
    "_replicas": "a whole number of replicas, e.g. 4",
}
_NUMBER_ERRORS = {"float_type", "float_parsing", "int_type", "int_parsing", "int_from_float"}


def read(path: Path, model: type[M]) -> M:
    """Read `path` as a `model`; UserError tells line, key and remedy of each mistake."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is larger than {_MOST_BYTES:,} bytes; is it the file meant?")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    data, lines = _parse(path, text)
    try:
        # JSON mode takes a string for an enum or a path, and strict mode no string for a number.
        return model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        mistakes = [_explain(details, path, lines, model) for details in error.errors()]
        raise UserError("\n".join(mistakes)) from None


def _parse(path: Path, text: str) -> tuple[object, dict[KeyPath, int]]:
    """Return the data and the line of every key."""
    if path.suffix == ".json":
        text = text.expandtabs()  # JSON may be indented with tabs, YAML may not
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        _check_aliases(node, path)
        # Lines first: construction writes what `<<` merges into the node, as if it stood there.
        lines = dict(_lines(node, path))
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise UserError(f"{path}{where}: not valid {_format(path)}: {problem}") from None
    except RecursionError:
        raise UserError(f"{path}: it is nested too deeply; write it out flat") from None


def _format(path: Path) -> str:
    return "JSON" if path.suffix == ".json" else "YAML"


def _check_aliases(root: yaml.Node, path: Path) -> None:
    """Refuse a file whose aliases would be written out without end."""
    seen: set[int] = set()
    repeated = 0
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            repeated += 1
        seen.add(id(node))
        if repeated > _MOST_REPEATED:
            raise UserError(
                f"{path}, line {node.start_mark.line + 1}: its aliases (*name) stand for more than "
                f"{_MOST_REPEATED:,} values, or for themselves; write out what is meant"
            )
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]


def _lines(node: yaml.Node, path: Path, at: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, path, (*at, index))
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no name of a key, as construction will say
            line = key.start_mark.line + 1
            if key.value in first:
                raise UserError(
                    f"{path}, line {line}: {_dotted((*at, key.value))} is already given in line "
                    f"{first[key.value]}; keep one of them"
                )
            first[key.value] = line
            yield from _lines(value, path, (*at, key.value))
            yield (*at, key.value), line


def _explain(
    details: ErrorDetails, path: Path, lines: dict[KeyPath, int], model: type[BaseModel]
) -> str:
    at = _without_tags(details["loc"], lines)
    known = max((at[:n] for n in range(len(at) + 1) if at[:n] in lines), key=len, default=())
    where = f"{path}, line {lines[known]}" if known in lines else str(path)
    key = _dotted(at)
    given = json.dumps(details["input"], default=str)
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key {key}; {_suggest(at, model)}"
        case "missing":
            return f"{where}: {key} is missing"
        case "union_tag_not_found":
            return f"{where}: {key}.{context['discriminator'].strip(_QUOTE)} is missing"
        case "union_tag_invalid":
            key = f"{key}.{context['discriminator'].strip(_QUOTE)}"
            given, wanted = context["tag"], f"it must be one of {context['expected_tags']}"
            return f'{where}: {key} is "{given}"; {wanted}'
        case "value_error":
            return f"{where}: {f'{key}: ' if at else ''}{context['error']}"
    return f"{where}: {key or 'the file'} is {given}; {_wanted(details, at)}"


def _without_tags(loc: KeyPath, lines: dict[KeyPath, int]) -> KeyPath:
    """Drop from an error's location the tags of unions, which the file does not contain."""
    at: KeyPath = ()
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if is_last or (*at, part) in lines:
            at = (*at, part)
    return at


def _wanted(details: ErrorDetails, at: KeyPath) -> str:
    name = str(at[-1]) if at else ""
    if details["type"] in _NUMBER_ERRORS:
        number = "a whole number" if details["type"].startswith("int") else "a number"
        units = (unit for ending, unit in _UNITS.items() if name.endswith(ending))
        return f"it must be {next(units, number)}"
    if details["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "it must be a section with keys of its own"
    message = details["msg"].replace("a valid string", "text")
    return message.replace("Input should", "it must").replace("should", "must")


def _suggest(at: KeyPath, model: type[BaseModel]) -> str:
    """Name the known key that was probably meant: here, or the same one in another section."""
    paths = sorted(set(_key_paths(model)))
    same = [path for path in paths if path[-1] == at[-1]]
    if same:
        return f"did you mean {' or '.join(map(_dotted, same))}?"
    beside = [path[-1] for path in paths if path[:-1] == at[:-1]]
    if near := difflib.get_close_matches(str(at[-1]), beside, n=1):
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(sorted(set(beside)))}" if beside else "remove it"


def _key_paths(model: type[BaseModel], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*at, name)
        for section in _sections(field.annotation):
            yield from _key_paths(section, (*at, name))


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _dotted(at: KeyPath) -> str:
    return ".".join(map(str, at))
