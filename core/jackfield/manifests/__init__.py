"""The manifest: what a plugin asks for, shipped inside its distribution and read without importing it.

`find` looks where it is, `read_manifest` reads it with every fault at once, `grants` compares what it asks for with
what an operator allows. Nothing here imports a plugin; YAML and cattrs are imported when a manifest is read.
"""

from jackfield.manifests.find import MANIFEST, beside, shipped
from jackfield.manifests.grants import Permission, more, permission
from jackfield.manifests.model import Manifest, Probe

__all__ = ["MANIFEST", "Manifest", "Permission", "Probe", "beside", "more", "permission", "shipped"]
