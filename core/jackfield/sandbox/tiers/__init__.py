"""The tiers: how a guest of each is started."""

from jackfield.sandbox.port import Confiner, Tier
from jackfield.sandbox.tiers.alone import Alone
from jackfield.sandbox.tiers.namespaces import Namespaces
from jackfield.sandbox.tiers.oci import Oci


def confiner(tier: Tier, program: str | None = None) -> Confiner:
    """Give a tier.

    Args:
        tier: which.
        program: bubblewrap, or the OCI runtime, by name or path; by default what the `PATH` has.
    """
    if tier is Tier.OCI:
        return Oci(program)
    return Namespaces(program) if tier is Tier.NAMESPACES else Alone()


__all__ = ["Alone", "Namespaces", "Oci", "confiner"]
