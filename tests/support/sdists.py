"""Real source distributions, made in a moment, with a backend of their own: they need nothing to be built."""

import io
import tarfile
import textwrap

from support.wheels import RUN

BACKEND = """
import os, zipfile

STEM, ENTRIES, REQUIRES = {stem!r}, {entries!r}, {requires!r}


def build_wheel(out, config=None, metadata=None):
    {hostile}
    info = STEM + ".dist-info"
    name, version = STEM.split("-")
    with zipfile.ZipFile(os.path.join(out, STEM + "-py3-none-any.whl"), "w") as wheel:
        def put(path, text):
            wheel.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
        with open(name + ".py") as file:
            put(name + ".py", file.read())
        wanted = "".join("Requires-Dist: " + each + chr(10) for each in REQUIRES)
        put(info + "/METADATA", "Metadata-Version: 2.1\\nName: " + name + "\\nVersion: " + version + "\\n" + wanted)
        put(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        put(info + "/entry_points.txt", ENTRIES)
        put(info + "/RECORD", "")
    return STEM + "-py3-none-any.whl"
"""


def sdist(folder, name, version, *, code="", hostile="pass", requires=(), needs=(), backend=True):
    """Make a source distribution of one module.

    Args:
        folder: where.
        name: of the distribution.
        version: its version.
        code: of its module, beside `VERSION`.
        hostile: what its backend does first.
        requires: what it depends on.
        needs: what its backend depends on.
        backend: whether it has one; else its `build-system` names a module that is nowhere.
    """
    module = name.replace("-", "_")
    stem = f"{module}-{version}"
    text = BACKEND.format(
        stem=stem,
        entries=RUN.format(name=name, module=module),
        requires=list(requires),
        hostile=textwrap.indent(textwrap.dedent(hostile), "    ").strip(),
    )
    files = {
        f"{module}.py": f"VERSION = {version!r}\n{textwrap.dedent(code)}",
        "pyproject.toml": f'[build-system]\nrequires = {list(needs)}\nbuild-backend = "back"\nbackend-path = ["."]\n',
        **({"back.py": text} if backend else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"{stem}/{file}")
            entry.size = len(content.encode())
            archive.addfile(entry, io.BytesIO(content.encode()))
    return path
