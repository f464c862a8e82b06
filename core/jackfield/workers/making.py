"""How the processes of one plugin are made: from where its code comes, what they may, and whose they are."""

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from jackfield.runtime.control import ControlLoop
from jackfield.sandbox.port import Tier
from jackfield.sandbox.selinux import Label, Labels
from jackfield.workers.answers import Services
from jackfield.workers.configs import write_config
from jackfield.workers.hatchery import Hatchery
from jackfield.workers.limits import Allowance
from jackfield.workers.messages import Prepare
from jackfield.workers.nursery import Nursery, Source
from jackfield.workers.origin import Origin
from jackfield.workers.pools import Apart, WorkerPools
from jackfield.workers.settings import settings_of

if TYPE_CHECKING:
    from jackfield.config import PluginConfig

_SCRATCH: Final = "jackfield-"


def _folder(making: "Making") -> str | None:
    return tempfile.mkdtemp(prefix=_SCRATCH) if making.origin.permission.grants.scratch else None


@attrs.frozen(eq=False)
class Making:
    """What the processes of one plugin are made of.

    Attributes:
        config: its configuration.
        origin: where its code comes from, and what it may.
        tier: the sandbox around its processes.
        allowance: what each may use.
        nursery: makes their zygotes.
        control: the loop that they are supervised on.
        labels: those of tenants.
        scratch: a folder of their own, if it is granted one.
    """

    config: "PluginConfig"
    origin: Origin
    tier: Tier
    allowance: Allowance
    nursery: Nursery
    control: ControlLoop
    labels: Labels
    scratch: str | None = attrs.field(init=False, default=attrs.Factory(_folder, takes_self=True))

    def prepare(self, scratch: str | None, number: int = 0) -> Prepare:
        """Say what a zygote is to become.

        Args:
            scratch: a folder of its own.
            number: the plugin's in its processes.
        """
        origin = self.origin
        packed = msgspec.msgpack.encode(origin.confinement(scratch, self.tier))
        return Prepare(write_config(origin.config), origin.paths, origin.sites, packed, number)

    def hatchery(
        self, services: Services, scratch: str | None, tenant: str | None = None, label: Label | None = None
    ) -> Hatchery:
        """Make what its workers come from.

        Args:
            services: what they may ask.
            scratch: a folder of their own.
            tenant: whose they are alone; None: anybody's.
            label: the SELinux label of that tenant.
        """
        confinement = self.origin.confinement(scratch, self.tier)
        source = Source(self.nursery, self.origin.runtime, confinement, self.allowance, tenant, label)
        return Hatchery(self.config.name, self.prepare(scratch), source, services, self.control.post)

    def apart(self, services: Services, tenant: str) -> Apart | None:
        """Make the same for a tenant, if more keeps tenants apart than a process that the plugin's zygote forks."""
        label = self.labels.of(tenant)
        if label is None and self.tier is Tier.SELF and self.scratch is None:
            return None
        own = _folder(self)
        return Apart(self.hatchery(services, own, tenant, label), own)

    def pools(self, services: Services, low: Callable[[], frozenset[str]]) -> WorkerPools:
        """Make its pools.

        Args:
            services: what its workers may ask.
            low: gives the tenants whose work can wait.
        """
        return WorkerPools(
            self.config.name,
            self.hatchery(services, self.scratch),
            self.allowance,
            settings_of(self.config),
            self.control,
            per_tenant=self.config.worker is not None and self.config.worker.per_tenant,
            low=low,
            apart=lambda tenant: self.apart(services, tenant),
        )
