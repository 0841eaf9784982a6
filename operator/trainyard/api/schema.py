"""Turns pydantic models into the structural OpenAPI schemas that CustomResourceDefinitions accept.

pydantic emits JSON Schema with references, `anyOf` for optionals, `const` and numeric exclusive bounds; the API server takes
none of these. What cannot be expressed is refused here, at generation, rather than by the API server at installation.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any]

_REFUSED = frozenset(
    {
        "const",
        "deprecated",
        "discriminator",
        "examples",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "readOnly",
        "uniqueItems",
        "writeOnly",
    }
)
_RULES = "x-kubernetes-validations"
_CHILDREN = frozenset({"additionalProperties", "allOf", "anyOf", "items", "not", "oneOf"})


class StructuralSchema(GenerateJsonSchema):
    """Use as `Model.model_json_schema(schema_generator=StructuralSchema)`."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """An optional field is one that may be left out: absence, not null, is how Kubernetes says nothing."""
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        out = super().literal_schema(schema)
        if "const" in out:
            out["enum"] = [out.pop("const")]
        return out

    def generate(self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        document = super().generate(schema, mode)
        structural: Schema = _structural(document, document.get("$defs", {}), ())
        return structural


def structural_schema(model: type[BaseModel]) -> Schema:
    """The OpenAPI v3 schema of `model` with camelCase names. Raises TypeError for what a CRD cannot say."""
    return model.model_json_schema(by_alias=True, schema_generator=StructuralSchema)


def _structural(node: Any, definitions: Schema, inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_structural(each, definitions, inside) for each in node]
    if not isinstance(node, dict):
        return node
    node = _resolve(dict(node), definitions, inside)
    if bad := _REFUSED & node.keys():
        raise TypeError(f"a CRD cannot say {sorted(bad)}: {node}")
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if not isinstance(node.get(exclusive, True), bool):
            node[plain], node[exclusive] = node[exclusive], True
    if node.get("additionalProperties") in (False, True):
        del node["additionalProperties"]
    if node.get("default", 0) is None:
        del node["default"]
    return {
        key: _child(key, value, definitions, inside) for key, value in node.items() if key not in ("$defs", "title")
    }


def _child(key: str, value: Any, definitions: Schema, inside: tuple[str, ...]) -> Any:
    if key == "properties":
        return {name: _structural(each, definitions, inside) for name, each in value.items()}
    return _structural(value, definitions, inside) if key in _CHILDREN else value


def _resolve(node: Schema, definitions: Schema, inside: tuple[str, ...]) -> Schema:
    """Inline a reference; what the field says of itself wins over what the referenced model says, but both their rules hold."""
    only = node.get("allOf", ())
    if len(only) == 1 and "$ref" in only[0]:
        node["$ref"] = node.pop("allOf")[0]["$ref"]
    if "$ref" not in node:
        return node
    name = node.pop("$ref").rsplit("/", 1)[1]
    if name in inside:
        raise TypeError(f"a CRD cannot be recursive: {name}")
    model = _structural(definitions[name], definitions, (*inside, name))
    if _RULES in model and _RULES in node:
        node[_RULES] = [*model[_RULES], *node[_RULES]]
    return {**model, **node}
