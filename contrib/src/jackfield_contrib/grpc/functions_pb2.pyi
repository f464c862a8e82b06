from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_JSON: _ClassVar[Encoding]
    ENCODING_MESSAGEPACK: _ClassVar[Encoding]
ENCODING_JSON: Encoding
ENCODING_MESSAGEPACK: Encoding

class Call(_message.Message):
    __slots__ = ("id", "function", "payload", "encoding", "timeout", "version", "headers")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    id: int
    function: str
    payload: bytes
    encoding: Encoding
    timeout: float
    version: str
    headers: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[int] = ..., function: _Optional[str] = ..., payload: _Optional[bytes] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., timeout: _Optional[float] = ..., version: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "result", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    result: bytes
    error: _status_pb2.Status
    def __init__(self, id: _Optional[int] = ..., result: _Optional[bytes] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Calls(_message.Message):
    __slots__ = ("calls", "cancel")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[Call]
    cancel: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, calls: _Optional[_Iterable[_Union[Call, _Mapping]]] = ..., cancel: _Optional[_Iterable[int]] = ...) -> None: ...

class Replies(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("call", "key")
    CALL_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    call: Call
    key: str
    def __init__(self, call: _Optional[_Union[Call, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class SubmissionRequest(_message.Message):
    __slots__ = ("id", "encoding", "wait")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    id: str
    encoding: Encoding
    wait: float
    def __init__(self, id: _Optional[str] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., wait: _Optional[float] = ...) -> None: ...

class Submission(_message.Message):
    __slots__ = ("id", "function", "status", "result", "error", "cancelled")
    ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    function: str
    status: str
    result: bytes
    error: _status_pb2.Status
    cancelled: bool
    def __init__(self, id: _Optional[str] = ..., function: _Optional[str] = ..., status: _Optional[str] = ..., result: _Optional[bytes] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., cancelled: bool = ...) -> None: ...

class ListSubmissionsRequest(_message.Message):
    __slots__ = ("function", "status", "limit")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    function: str
    status: str
    limit: int
    def __init__(self, function: _Optional[str] = ..., status: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class SubmissionList(_message.Message):
    __slots__ = ("submissions",)
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    submissions: _containers.RepeatedCompositeFieldContainer[SubmissionRow]
    def __init__(self, submissions: _Optional[_Iterable[_Union[SubmissionRow, _Mapping]]] = ...) -> None: ...

class SubmissionRow(_message.Message):
    __slots__ = ("id", "function", "version", "tenant", "key", "status", "reason", "attempt", "submitted", "since")
    ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    function: str
    version: str
    tenant: str
    key: str
    status: str
    reason: str
    attempt: int
    submitted: str
    since: str
    def __init__(self, id: _Optional[str] = ..., function: _Optional[str] = ..., version: _Optional[str] = ..., tenant: _Optional[str] = ..., key: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., attempt: _Optional[int] = ..., submitted: _Optional[str] = ..., since: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: str
    def __init__(self, function: _Optional[str] = ...) -> None: ...

class Descriptions(_message.Message):
    __slots__ = ("functions",)
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    functions: _containers.RepeatedCompositeFieldContainer[Description]
    def __init__(self, functions: _Optional[_Iterable[_Union[Description, _Mapping]]] = ...) -> None: ...

class Description(_message.Message):
    __slots__ = ("name", "version", "plugin", "about", "payload_schema", "result_schema", "shape", "parameters", "returns", "idempotent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    RESULT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    plugin: str
    about: str
    payload_schema: bytes
    result_schema: bytes
    shape: str
    parameters: _containers.RepeatedCompositeFieldContainer[Parameter]
    returns: str
    idempotent: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., plugin: _Optional[str] = ..., about: _Optional[str] = ..., payload_schema: _Optional[bytes] = ..., result_schema: _Optional[bytes] = ..., shape: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[Parameter, _Mapping]]] = ..., returns: _Optional[str] = ..., idempotent: bool = ...) -> None: ...

class Parameter(_message.Message):
    __slots__ = ("name", "kind", "required", "shown")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    required: bool
    shown: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., required: bool = ..., shown: _Optional[str] = ...) -> None: ...
