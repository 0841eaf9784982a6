"""The messages of the Open Inference Protocol's gRPC service, built when imported from the table below.

Names and field numbers are the specification's. A table costs no generator at build time and no generated files; the
classes are the same as those of generated code. They live in a pool of their own beside those of a client.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
_PACKAGE = "inference"
# A message on each line, then its fields as `number name type`; `*` is repeated, `%` a map from string, `|` one of.
_TABLE = """
ServerLiveRequest:
ServerLiveResponse: 1 live bool
ServerReadyRequest:
ServerReadyResponse: 1 ready bool
ModelReadyRequest: 1 name string, 2 version string
ModelReadyResponse: 1 ready bool
ServerMetadataRequest:
ServerMetadataResponse: 1 name string, 2 version string, 3 extensions *string
ModelMetadataRequest: 1 name string, 2 version string
ModelMetadataResponse: 1 name string, 2 versions *string, 3 platform string, 4 inputs *.TensorMetadata, 5 outputs *.TensorMetadata
ModelMetadataResponse.TensorMetadata: 1 name string, 2 datatype string, 3 shape *int64
InferParameter: 1 bool_param |bool, 2 int64_param |int64, 3 string_param |string, 4 double_param |double, 5 uint64_param |uint64
InferTensorContents: 1 bool_contents *bool, 2 int_contents *int32, 3 int64_contents *int64, 4 uint_contents *uint32, 5 uint64_contents *uint64, 6 fp32_contents *float, 7 fp64_contents *double, 8 bytes_contents *bytes
ModelInferRequest: 1 model_name string, 2 model_version string, 3 id string, 4 parameters %InferParameter, 5 inputs *.InferInputTensor, 6 outputs *.InferRequestedOutputTensor, 7 raw_input_contents *bytes
ModelInferRequest.InferInputTensor: 1 name string, 2 datatype string, 3 shape *int64, 4 parameters %InferParameter, 5 contents InferTensorContents
ModelInferRequest.InferRequestedOutputTensor: 1 name string, 2 parameters %InferParameter
ModelInferResponse: 1 model_name string, 2 model_version string, 3 id string, 4 parameters %InferParameter, 5 outputs *.InferOutputTensor, 6 raw_output_contents *bytes
ModelInferResponse.InferOutputTensor: 1 name string, 2 datatype string, 3 shape *int64, 4 parameters %InferParameter, 5 contents InferTensorContents
StatisticDuration: 1 count uint64, 2 ns uint64
InferStatistics: 1 success StatisticDuration, 2 fail StatisticDuration, 3 queue StatisticDuration, 4 compute_input StatisticDuration, 5 compute_infer StatisticDuration, 6 compute_output StatisticDuration
InferBatchStatistics: 1 batch_size uint64, 2 compute_input StatisticDuration, 3 compute_infer StatisticDuration, 4 compute_output StatisticDuration
ModelStatisticsRequest: 1 name string, 2 version string
ModelStatistics: 1 name string, 2 version string, 3 last_inference uint64, 4 inference_count uint64, 5 execution_count uint64, 6 inference_stats InferStatistics, 7 batch_stats *InferBatchStatistics
ModelStatisticsResponse: 1 model_stats *ModelStatistics
ModelRepositoryParameter: 1 bool_param |bool, 2 int64_param |int64, 3 string_param |string, 4 bytes_param |bytes
RepositoryIndexRequest: 1 repository_name string, 2 ready bool
RepositoryIndexResponse: 1 models *.ModelIndex
RepositoryIndexResponse.ModelIndex: 1 name string, 2 version string, 3 state string, 4 reason string
RepositoryModelLoadRequest: 1 repository_name string, 2 model_name string, 3 parameters %ModelRepositoryParameter
RepositoryModelLoadResponse:
RepositoryModelUnloadRequest: 1 repository_name string, 2 model_name string, 3 parameters %ModelRepositoryParameter
RepositoryModelUnloadResponse:
"""
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="trainyard_inference.proto", package=_PACKAGE, syntax="proto3")
    messages: dict[str, descriptor_pb2.DescriptorProto] = {}
    for line in _TABLE.strip().splitlines():
        path, _, fields = line.partition(":")
        outer, _, inner = path.partition(".")
        message = messages[outer].nested_type.add(name=inner) if inner else file.message_type.add(name=outer)
        messages.setdefault(outer, message)
        for field in fields.split(","):
            if field.strip():
                number, name, kind = field.split()
                _add(message, path, int(number), name, kind)
    return file


def _add(message: descriptor_pb2.DescriptorProto, path: str, number: int, name: str, kind: str) -> None:
    mark, kind = (kind[0], kind[1:]) if kind[0] in "*%|" else ("", kind)
    repeated = mark in ("*", "%")
    field = message.field.add(
        name=name, number=number, label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    )
    if mark == "|":
        field.oneof_index = 0
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
    if mark == "%":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add(entry, path, 1, "key", "string")
        _add(entry, path, 2, "value", kind)
        _refer(field, f"{path}.{entry.name}")
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        _refer(field, f"{path}{kind}" if kind.startswith(".") else kind)


def _refer(field: descriptor_pb2.FieldDescriptorProto, message: str) -> None:
    field.type = _Field.TYPE_MESSAGE
    field.type_name = f".{_PACKAGE}.{message}"


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def message(name: str) -> Any:
    """The class of a message, e.g. `ModelInferRequest`."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
