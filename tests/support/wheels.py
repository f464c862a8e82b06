"""Real wheels, made in a moment."""

import base64
import hashlib
import textwrap
import zipfile

RUN = "[jackfield.functions]\n{name}.run = {module}:run\n"
"""What a wheel advertises unless a test says otherwise."""


def wheel(folder, name, version, *, requires=(), code="", entries=RUN, files=None):
    """Make a wheel of one module.

    Args:
        folder: where.
        name: of the distribution.
        version: its version.
        requires: what it depends on.
        code: of its module, beside `VERSION`.
        entries: of `entry_points.txt`; "" for none.
        files: further ones, by their path in it.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    held = {
        f"{module}.py": f"VERSION = {version!r}\n{textwrap.dedent(code)}",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(files or {}),
    }
    if entries:
        held[f"{info}/entry_points.txt"] = entries.format(name=name, module=module)
    rows = []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in held.items():
            archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{file},sha256={digest},{len(text.encode())}\n")
        archive.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))
    return path
