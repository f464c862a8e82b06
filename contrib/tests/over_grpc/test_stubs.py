"""What is generated from the proto file is what protoc makes of it today."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import attrs
import google.rpc.status_pb2
import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from jackfield.errors import Outcome
from jackfield_contrib.grpc import Bounds, functions_pb2, functions_pb2_grpc

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "grpc.md"
SOURCE = "jackfield/v1/functions.proto"


def test_the_committed_module_is_what_the_proto_file_says(tmp_path):
    """Whatever protoc it is: the descriptor is compared, not the text."""
    proto = files("jackfield_contrib.grpc") / "proto"
    others = Path(google.rpc.status_pb2.__file__).parents[2], Path(grpc_tools.__file__).parent / "_proto"
    out = tmp_path / "set"
    includes = [f"-I{folder}" for folder in (proto, *others)]
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes, f"--descriptor_set_out={out}", SOURCE]
    subprocess.run(command, check=True, timeout=60)
    (made,) = FileDescriptorSet.FromString(out.read_bytes()).file
    kept = FileDescriptorProto()
    functions_pb2.DESCRIPTOR.CopyToProto(kept)
    for file in (made, kept):
        file.ClearField("source_code_info")
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
            for nested in message.nested_type:
                for field in nested.field:
                    field.ClearField("json_name")
    assert made == kept


def test_so_is_its_service():
    """Method by method."""
    methods = {method.name for method in functions_pb2.DESCRIPTOR.services_by_name["Functions"].methods}
    servicer = functions_pb2_grpc.FunctionsServicer
    assert {name for name in vars(servicer) if not name.startswith("_")} == methods


def table_of(heading):
    """Give the rows of the page's table below a heading, their cells without code marks."""
    section = PAGE.read_text("utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]
    return [[cell.strip().strip("`") for cell in row.split("|")] for row in rows]


def test_the_page_has_every_message_and_method():
    """Field by field, in their order."""
    told, message = {}, ""
    for name, field, *_ in table_of("Messages"):
        message = name or message
        told.setdefault(message, []).append(field)
    messages = functions_pb2.DESCRIPTOR.message_types_by_name
    assert told == {name: [field.name for field in kind.fields] for name, kind in messages.items()}
    methods = functions_pb2.DESCRIPTOR.services_by_name["Functions"].methods
    assert [row[0] for row in table_of("RPCs")] == [method.name for method in methods]


def test_the_page_has_every_outcome_and_bound():
    """With its default."""
    reasons = [row[1] for row in table_of("Statuses")]
    assert set(reasons) == {outcome.value.upper() for outcome in Outcome if outcome is not Outcome.OK} | {"DRAINING"}
    assert [row[0] for row in table_of("Bounds")] == [field.name for field in attrs.fields(Bounds)]
