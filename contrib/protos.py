"""Generate what Python needs of the proto files; `nox -s protos` runs it with the protoc that is meant.

An older protoc than the newest on purpose: what it makes runs with its own protobuf and with any later one.
"""

import tempfile
from pathlib import Path

import google.rpc.status_pb2
import grpc_tools.protoc

PACKAGE = Path(__file__).parent / "src" / "jackfield_contrib" / "grpc"
SOURCE = "jackfield/v1/functions.proto"


def main() -> None:
    """Write the modules beside the package's own."""
    # The file is called as other languages generate it, so that two copies of it in one process are the same to
    # protobuf; Python's modules lie elsewhere, since `jackfield` is the framework's package.
    with tempfile.TemporaryDirectory() as made:
        others = Path(google.rpc.status_pb2.__file__).parents[2], Path(grpc_tools.protoc.__file__).parent / "_proto"
        includes = [f"-I{folder}" for folder in (PACKAGE / "proto", *others)]
        outputs = [f"--{kind}_out={made}" for kind in ("python", "pyi", "grpc_python")]
        if grpc_tools.protoc.main(["protoc", *includes, *outputs, SOURCE]):
            raise SystemExit(1)
        for module in (Path(made) / SOURCE).parent.glob("functions_pb2*"):
            text = module.read_text().replace("from jackfield.v1 import", "from jackfield_contrib.grpc import")
            (PACKAGE / module.name).write_text(text)


if __name__ == "__main__":
    main()
