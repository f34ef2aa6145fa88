"""The JSON Schema of suites and cluster files, with which editors complete and check them.

Keys, types, bounds and defaults come from the pydantic models; descriptions come from the
docstrings of the models and of the distillers. `bench validate` checks more than a JSON Schema can
express, for example that a pair's teacher can have the student's views.
"""

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bench.data.base import PREFIX
from bench.plugins import RESERVED, Registry
from bench.suite.checks import options
from bench.suite.files import canonical
from bench.suite.schema import LIBRARIES, SuiteFile
from bench.suite.tuning import RangeEntry
from distillers import Declaration

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS = "#/$defs/"


class Generator(GenerateJsonSchema):
    """Pydantic's generator, with the descriptions of docstrings and without generated titles."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model, whose properties have the texts of its docstring."""
        content = super().model_schema(schema)
        content.pop("title", None)
        content["description"] = first_paragraph(schema["cls"])
        for key, text in documented(schema["cls"], "Attributes").items():
            if key in content["properties"]:
                value = content["properties"][key]
                allowed = f"Allowed: {value['description']}." if "description" in value else ""
                value["description"] = f"{text} {allowed}".strip()
        return content

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: a title that repeats the key says nothing."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return a schema; `null` and a part with all its defaults are left out as defaults."""
        content = super().default_schema(schema)
        if schema.get("default") is None or isinstance(schema["default"], BaseModel):
            content.pop("default", None)
        return content

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of a mapping, which refuses keys that do not match their pattern."""
        content = super().dict_schema(schema)
        for pattern, values in content.pop("patternProperties", {}).items():
            content["propertyNames"] = {**content.get("propertyNames", {}), "pattern": pattern}
            content["additionalProperties"] = values
        return content

    def handle_invalid_for_json_schema(
        self, schema: core_schema.CoreSchema, error_info: str
    ) -> JsonSchemaValue:
        """Return the schema of any value, for a type of a plugin that JSON cannot describe."""
        return {}


def of_model(model: type[BaseModel], title: str) -> dict[str, Any]:
    """Return the JSON Schema of files whose content is a pydantic model.

    Args:
        model: The model of the content.
        title: Title of the schema.
    """
    content = model.model_json_schema(schema_generator=Generator)
    return {"$schema": DIALECT, "title": title, **content}


def of_suites(registry: Registry) -> dict[str, Any]:
    """Return the JSON Schema of suite files.

    Args:
        registry: The distillers, networks and data sets whose names and options the schema has. A
            suite with the key `plugins` may contain other names.
    """
    schema = of_model(SuiteFile, "distillbench suite")
    schema = _with_changes_of_recipes(_with_names(schema, registry))
    definitions: dict[str, Any] = schema["$defs"]
    definitions["RangeEntry"] = RangeEntry.model_json_schema(schema_generator=Generator)
    term = definitions["TermEntry"]
    weight = term["properties"]["weight"]
    definitions["Term"] = {"anyOf": [weight, _ref("TermEntry")]}
    names = registry.names("distiller")
    for name in names:
        distiller = registry.declaration(name)
        values = _options(distiller)
        keys = {"type": "object", "additionalProperties": False}
        definitions[f"options.{name}"] = {**keys, "properties": values}
        terms = {**keys, "properties": term["properties"] | values, "required": ["weight"]}
        definitions[f"term.{name}"] = {"anyOf": [weight, terms]}
    properties: dict[str, Any] = schema["properties"]
    label = definitions["OwnMethod"]["properties"]["label"]
    definitions["OwnMethod"] |= {
        "description": "A label, and distillers with their weights; {}: no training.",
        "properties": {"label": label, **{name: _term(name, registry) for name in names}},
        "additionalProperties": _ref("Term"),
    }
    properties["methods"] = _methods(properties["methods"])
    properties["options"]["properties"] = {
        name: {
            **_ref(f"options.{name}"),
            "description": text_of(registry.declaration(name)),
            "examples": [_defaults(registry.declaration(name))],
        }
        for name in names
    }
    space = properties["tune"]["anyOf"][0]["$ref"].removeprefix(DEFINITIONS)
    definitions[space]["properties"]["methods"]["additionalProperties"] = _space()
    return schema | {"if": {"required": ["plugins"]}, "else": _known_names(registry, definitions)}


def documented(cls: type, section: str) -> dict[str, str]:
    """Return the texts of a section of a class's docstring by name, with those of its bases.

    Args:
        cls: A class with Google-style docstrings.
        section: `Args` or `Attributes`.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, rest = inspect.cleandoc(base.__doc__ or "").partition(f"\n{section}:\n")
        block = re.split(r"\n(?=\S)", rest)[0]
        for entry in re.split(r"\n(?=    \S)", f"\n{block}"):
            name, _, text = entry.strip().partition(": ")
            texts |= {name: " ".join(text.split())} if text else {}
    return texts


def first_paragraph(cls: type) -> str:
    """Return the first paragraph of a class's docstring on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())


def text_of(distiller: type[Declaration]) -> str:
    """Return the formula and the paper of a distiller."""
    return f"{first_paragraph(distiller)} {distiller.paper}"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"{DEFINITIONS}{name}"}


def _term(name: str, registry: Registry) -> dict[str, Any]:
    """Return the schema of a distiller in a method; its examples are those of papers' methods."""
    terms = (method["terms"] for method in canonical().values())
    examples = [content[name] for content in terms if name in content] or [1.0]
    return {
        **_ref(f"term.{name}"),
        "description": text_of(registry.declaration(name)),
        "examples": list({json.dumps(example): example for example in examples}.values()),
    }


def _options(distiller: type[Declaration]) -> dict[str, Any]:
    """Return the schema of each option of a distiller, by the option's name."""
    types = inspect.get_annotations(distiller.__init__, eval_str=True)
    texts = documented(distiller, "Args")
    return {
        name: {
            **_of_type(types.get(name, Any)),
            "description": texts.get(name, f"Option of {distiller.__name__}."),
            **({"default": default} if _is_json(default := parameter.default) else {}),
        }
        for name, parameter in options(distiller).items()
    }


def _defaults(distiller: type[Declaration]) -> dict[str, Any]:
    """Return the defaults of a distiller's options."""
    return {k: value["default"] for k, value in _options(distiller).items() if "default" in value}


def _is_json(value: Any) -> bool:
    """Return whether a value, such as a default of a plugin, is a value of JSON."""
    try:
        return bool(json.dumps(value))
    except TypeError:
        return False


def _of_type(type_: Any) -> dict[str, Any]:
    adapter = TypeAdapter(type_, config=ConfigDict(arbitrary_types_allowed=True))
    return adapter.json_schema(schema_generator=Generator)


def _with_names(schema: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """Return the schema with the registry's names, which editors offer, and all other texts."""
    parts = schema["$defs"]
    names = {"Network": registry.names("network"), "DataSetName": registry.names("dataset")}
    places = {
        "Network": parts["PairEntry"]["properties"]["student"],
        "DataSetName": parts["DataSet"]["properties"]["name"],
    }
    content = json.dumps(schema)
    for name, place in places.items():
        prose = {key: place[key] for key in ("description", "examples")}
        content = content.replace(json.dumps(place), json.dumps({**_ref(name), **prose}))
    schema = json.loads(content)
    for name, values in names.items():
        text = {"type": "string", "minLength": 1, "maxLength": places[name]["maxLength"]}
        schema["$defs"][name] = {"anyOf": [{"enum": values}, text]}
    schema["$defs"]["PairEntry"]["properties"]["teacher"]["oneOf"][0] = _ref("Network")
    return schema


def _with_changes_of_recipes(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with a second definition of recipes, without defaults, for changes.

    Only the suite's own recipe has the papers' values as defaults; a change of it, for example
    that of a pair, keeps the suite's values.
    """
    full, changes = (f'"{DEFINITIONS}{name}"' for name in ("RecipeEntry", "RecipeChanges"))
    content: dict[str, Any] = json.loads(json.dumps(schema).replace(full, changes))
    recipe = content["$defs"]["RecipeEntry"]
    content["properties"]["recipe"]["$ref"] = f"{DEFINITIONS}RecipeEntry"
    properties = {
        key: {name: part for name, part in value.items() if name != "default"}
        | {"examples": value.get("examples", [value["default"]])}
        for key, value in recipe["properties"].items()
    }
    content["$defs"]["RecipeChanges"] = {**recipe, "properties": properties}
    return content


def _methods(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the key `methods`."""
    choices = [{"const": "papers"}, {"type": "null"}, _ref("OwnMethod")]
    papers = {"anyOf": choices, "examples": ["papers"]}
    mapping = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": schema["oneOf"][1]["propertyNames"],
        "properties": {
            name: {**papers, "description": f"{method['label']}. Weights: {method['source']}."}
            for name, method in canonical().items()
        },
        "additionalProperties": {  # a method of the papers is a label without distillers, too
            **_ref("OwnMethod"),
            "if": {"required": ["label"]},
            "then": {"minProperties": 2},
        },
    }
    names = {"type": "array", "minItems": 1, "items": {"enum": [*canonical()]}, "uniqueItems": True}
    example = {"kd": "papers", "ours": {"ce": 1, "kd": {"weight": 1, "temperature": 2}}}
    return {
        "description": schema["description"],
        "examples": [["student", "kd", "crd"], example],
        "oneOf": [names, mapping],
    }


def _space() -> dict[str, Any]:
    """Return the schema of the searched values of one method, by option or by distiller."""
    domain = [{"type": "array", "minItems": 1}, _ref("RangeEntry")]
    of_distiller = {"type": "object", "additionalProperties": {"anyOf": domain}}
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [*domain, of_distiller]},
    }


def _known_names(registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a suite whose names are all in the registry; add two definitions."""
    libraries = {"type": "string", "pattern": f"^({'|'.join(LIBRARIES)})."}
    folder = {"type": "string", "pattern": f"^{PREFIX}."}
    definitions["KnownNetwork"] = {"anyOf": [{"enum": registry.names("network")}, libraries]}
    images = {"anyOf": [{"enum": registry.names("dataset")}, folder]}
    definitions["KnownDataSet"] = {
        "if": {"type": "string"}, "then": images, "else": {"properties": {"name": images}},
    }  # fmt: skip
    network, dataset = _ref("KnownNetwork"), {"properties": {"dataset": _ref("KnownDataSet")}}
    pair = {"teacher": {"if": {"type": "string"}, "then": network}, "student": network}
    distillers = registry.names("distiller")
    return {
        "properties": {
            **dataset["properties"],
            "teachers": dataset,
            "probes": {"additionalProperties": dataset},
            "pairs": {"items": {"properties": pair}},
            "networks": {"propertyNames": network},
            "methods": {
                "additionalProperties": {"propertyNames": {"enum": [*RESERVED, *distillers]}}
            },
            "options": {"propertyNames": {"enum": distillers}},
        }
    }
