"""What is generated from the proto file is what protoc makes of it today."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import google.rpc.status_pb2
import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from jackfield_contrib.grpc import functions_pb2, functions_pb2_grpc

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
