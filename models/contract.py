"""What an exported generator says about itself: one JSON document in the metadata of its ONNX file."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

import onnx
from google.protobuf.message import Message
from onnx.external_data_helper import uses_external_data
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from models.mistake import Mistake

SCHEMA = 1
METADATA_KEY = "ganserve"
MINIMUM_OPSET = 18

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]


class ContractError(Mistake):
    """An exported generator is refused; the message is one line for the person who exported or copied it.

    ContractError
    ├── InvalidOnnx          no ONNX model, or one that onnx.checker refuses
    ├── ExternalData         weights outside of the file, which its digest would not cover
    ├── MetadataMissing      nothing under the key "ganserve"
    ├── MetadataUnreadable   not JSON, or not a contract
    ├── SchemaTooNew         written by a newer Ganserve
    ├── OpsetTooOld          an operator set older than 18
    ├── ForeignOperator      an operator outside of ONNX's default domain
    └── TensorMismatch       an input or output differs from what the contract promises
    """


class InvalidOnnx(ContractError): ...


class ExternalData(ContractError): ...


class MetadataMissing(ContractError): ...


class MetadataUnreadable(ContractError): ...


class SchemaTooNew(ContractError): ...


class OpsetTooOld(ContractError): ...


class ForeignOperator(ContractError): ...


class TensorMismatch(ContractError): ...


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)


class Latent(_Part):
    """z: `dim` numbers a row, standard normal, or uniform on [-1, 1]."""

    dim: Count
    distribution: Literal["normal", "uniform"]


class ImageShape(_Part):
    """Pixels; 1 channel is grey, 3 are RGB."""

    height: Count
    width: Count
    channels: Literal[1, 3]


class Training(_Part):
    """Where the weights come from."""

    dataset: Text
    images_seen: Annotated[int, Field(ge=0)]
    architecture: Text
    loss: Text
    seed: int
    source_commit: str


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"class names must be unique, found more than once: {', '.join(repeated)}")
    return names


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is no moment of UTC's calendar") from None


class Contract(_Part):
    """The whole of it. Without classes the generator is unconditional."""

    schema_version: int = Field(default=SCHEMA, ge=1, le=SCHEMA, alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    latent: Latent
    classes: Annotated[tuple[Text, ...], AfterValidator(_unique)] = ()
    image: ImageShape
    truncation: Literal["latent", "mapping"] = "latent"
    training: Training
    license: Text
    created: Annotated[AwareDatetime, AfterValidator(_in_utc)]

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """The inputs of the generator, all float32, and the shape of a row of each."""
        shapes: dict[str, tuple[int, ...]] = {"latent": (self.latent.dim,)}
        if self.classes:
            shapes["label"] = (len(self.classes),)
        if self.truncation == "mapping":
            shapes["truncation"] = ()
        return shapes


def attach(model: onnx.ModelProto, contract: Contract) -> None:
    """Write the contract into the model's metadata, in place of one that is there."""
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=METADATA_KEY, value=contract.model_dump_json())


def read(model: onnx.ModelProto) -> Contract:
    """The contract in the model's metadata.

    Raises MetadataMissing, MetadataUnreadable or SchemaTooNew.
    """
    found = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if not found:
        raise MetadataMissing(
            f'no metadata under the key "{METADATA_KEY}"; export the generator with Ganserve'
        )
    try:
        document = from_json(found[0])
    except ValueError as error:
        raise MetadataUnreadable(f'the metadata under "{METADATA_KEY}" is not JSON: {error}') from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise SchemaTooNew(
            f"the contract has schema {schema}, this Ganserve reads up to {SCHEMA}; upgrade Ganserve"
        )
    try:
        return Contract.model_validate_json(found[0], strict=True)
    except ValidationError as error:
        raise MetadataUnreadable(f"the contract is not valid: {_readable(error)}") from None


def check(model: onnx.ModelProto) -> Contract:
    """The contract of a model that keeps it.

    Raises the ContractError that names the first thing that is wrong.
    """
    for part in _parts(model):
        if isinstance(part, onnx.TensorProto) and uses_external_data(part):
            raise ExternalData(f"the weights {part.name!r} lie outside of the file; save it as one file")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise InvalidOnnx(f"onnx.checker refuses it: {_one_line(error)}") from None
    contract = read(model)
    _check_operators(model)
    _check_tensors(model, contract)
    return contract


def _check_operators(model: onnx.ModelProto) -> None:
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < MINIMUM_OPSET:
        raise OpsetTooOld(f"operator set {opset}, expected {MINIMUM_OPSET} or later; export it again")
    for part in _parts(model):
        if isinstance(part, onnx.NodeProto) and part.domain not in ("", "ai.onnx"):
            raise ForeignOperator(
                f"node {part.name!r} uses {part.op_type} of the domain {part.domain!r}; "
                "only ONNX's standard operators are allowed"
            )


def _check_tensors(model: onnx.ModelProto, contract: Contract) -> None:
    inputs = {name: ("float32", row) for name, row in contract.inputs.items()}
    shape = contract.image
    outputs = {"image": ("uint8", (shape.height, shape.width, shape.channels))}
    batch = _batch_symbol(model)
    for kind, tensors, promised in (
        ("input", model.graph.input, inputs),
        ("output", model.graph.output, outputs),
    ):
        if (names := [tensor.name for tensor in tensors]) != list(promised):
            raise TensorMismatch(f"the {kind}s are {names}, the contract expects {list(promised)}")
        for tensor in tensors:
            dtype, row = promised[tensor.name]
            expected = f"{dtype} [{', '.join(map(str, (batch, *row)))}]"
            if (found := _describe(tensor)) != expected:
                raise TensorMismatch(
                    f"the {kind} {tensor.name!r} is {found}, the contract expects {expected}"
                )


def _batch_symbol(model: onnx.ModelProto) -> str:
    """The name that the graph gives to the number of rows; "batch" where it gives none."""
    first = model.graph.input[0].type.tensor_type.shape.dim if model.graph.input else []
    symbol = first[0].dim_param if first else ""
    # against its stubs, protobuf gives bytes where a damaged file holds invalid UTF-8
    return symbol if symbol and isinstance(symbol, str) else "batch"


def _describe(tensor: onnx.ValueInfoProto) -> str:
    """Such as "uint8 [batch, 32, 32, 1]"."""
    kind = tensor.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    dtype = {"float": "float32", "double": "float64", "undefined": "no tensor"}.get(dtype, dtype)
    dims = [
        str(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?") for dim in kind.shape.dim
    ]
    return f"{dtype} [{', '.join(dims)}]"


def _parts(message: Message) -> Iterator[Message]:
    """The message and everything in it: nodes and tensors of the graph, its subgraphs and its functions."""
    yield message
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in (value,) if isinstance(value, Message) else value:
                yield from _parts(part)


def _readable(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}" for problem in error.errors()
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
