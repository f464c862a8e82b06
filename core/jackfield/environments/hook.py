"""What runs inside the sandbox when a source distribution is built; it is given to an interpreter as text.

It unpacks the archive, or calls one hook of its build backend (PEP 517), and writes what came of it as JSON. Nothing of
jackfield is there, and nothing of the host's but what it is told.
"""

import importlib
import json
import os
import sys
from typing import Any

_LEGACY: dict[str, Any] = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}
_TIMES = "315532800"  # 1980, the first year of a zip archive: the same sources make the same wheel


def unpack(told: dict[str, Any]) -> Any:
    """Unpack, and read which backend it wants."""
    import tarfile  # noqa: PLC0415  # for this step alone
    import tomllib  # noqa: PLC0415  # as above
    import zipfile  # noqa: PLC0415  # as above

    os.mkdir("unpacked")
    if told["archive"].endswith(".zip"):
        with zipfile.ZipFile(told["archive"]) as archive:
            archive.extractall("unpacked")  # noqa: S202  # it can write nowhere else
    else:
        with tarfile.open(told["archive"]) as archive:
            safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall("unpacked", **safe)  # noqa: S202  # as above
    (top,) = os.listdir("unpacked")
    source = os.path.abspath(os.path.join("unpacked", top))
    try:
        with open(os.path.join(source, "pyproject.toml"), "rb") as file:
            system = tomllib.load(file).get("build-system", _LEGACY)
    except FileNotFoundError:
        system = _LEGACY
    return {
        "source": source,
        "requires": system["requires"],
        "backend": system.get("build-backend", _LEGACY["build-backend"]),
        "inside": [os.path.join(source, each) for each in system.get("backend-path", ())],
    }


def call(told: dict[str, Any]) -> Any:
    """Call a hook."""
    import site  # noqa: PLC0415  # whose work nobody else does with -S

    if told["site"]:
        site.addsitedir(told["site"])  # a .pth file of a backend counts: it is in the sandbox as well
        os.environ["PYTHONPATH"] = told["site"]
        os.environ["PATH"] = os.path.join(told["site"], "bin") + os.pathsep + os.environ["PATH"]
    os.environ["SOURCE_DATE_EPOCH"] = _TIMES
    os.chdir(told["source"])
    sys.path[:0] = told["inside"]
    sys.argv[:] = ["setup.py"]
    module, _, attribute = told["backend"].partition(":")
    backend = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        backend = getattr(backend, name)
    if told["step"] == "wheel":
        return backend.build_wheel(told["out"], {}, None)
    hook = getattr(backend, "get_requires_for_build_wheel", None)
    return [] if hook is None else list(hook({}))


def main() -> None:
    """Do what the argument says."""
    told = json.loads(sys.argv[1])
    os.makedirs("tmp", exist_ok=True)
    os.environ["TMPDIR"] = os.path.abspath("tmp")
    answer = os.path.abspath(told["answer"])
    found = unpack(told) if told["step"] == "unpack" else call(told)
    with open(answer, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
