"""The OpenAPI 3.1 document, read from the operations and their models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from planner.api.operation import Operation
from planner.api.problems import Problem, words_of

_REF = "#/components/schemas/{model}"

Json = dict[str, Any]
Refs = Mapping[tuple[Any, JsonSchemaMode], Json]


def document(operations: Sequence[Operation], version: str) -> Json:
    """Describe all operations; bodies are validation schemas, answers serialisation schemas."""
    used: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for operation in operations:
        used += [(operation.body, "validation")] if operation.body else []
        used += [(model, "serialization") for model in operation.answers.values() if model]
    refs, schemas = models_json_schema(
        list(dict.fromkeys(used)), ref_template=_REF, title="P/D Planner"
    )
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "P/D Planner",
            "version": version,
            "description": "Sizes the prefill and decode pools of disaggregated LLM inference.",
        },
        "paths": paths,
        "components": {"schemas": schemas.get("$defs", {})},
    }


def _described(operation: Operation, refs: Refs) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            str(int(status)): {
                "description": words_of(status),
                "content": {
                    _content_type(operation, model): {
                        "schema": refs[model, "serialization"] if model else {"type": "string"}
                    }
                },
            }
            for status, model in operation.answers.items()
        },
    }
    if operation.query:
        described["parameters"] = _parameters(operation.query)
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[operation.body, "validation"]}},
        }
    return described


def _content_type(operation: Operation, model: type[BaseModel] | None) -> str:
    return "application/problem+json" if model is Problem else operation.content_type


def _parameters(query: type[BaseModel]) -> list[Json]:
    schema = query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in schema["properties"].items()
    ]
