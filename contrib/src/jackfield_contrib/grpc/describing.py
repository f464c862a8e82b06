"""What can be called: names for all that a tenant may, and schemas of one."""

import asyncio
from typing import Final

from jackfield import Host, to_json
from jackfield.errors import FunctionNotFound
from jackfield.model.spec import FunctionSpec
from jackfield_contrib.contracts import contract_of
from jackfield_contrib.grpc.access import Asker
from jackfield_contrib.grpc.functions_pb2 import DescribeRequest, Description, Descriptions, Parameter

_PICKS: Final = False  # no version


class Describing:
    """Describes the functions of a host.

    Args:
        host: whose.
    """

    def __init__(self, host: Host) -> None:
        self._host: Host = host

    async def describe(self, request: DescribeRequest, asker: Asker) -> Descriptions:
        """Describe one function with its schemas, or name all that a tenant may call.

        Raises:
            FunctionNotFound: if there is none of that name that the tenant may call.
        """
        # Thousands of them take a while: not on the loop that calls run on.
        return await asyncio.to_thread(self._described, request.function, asker.tenant)

    def _described(self, name: str, tenant: str | None) -> Descriptions:
        permissions = self._host.snapshot.permissions
        if name:
            if permissions.denial(name, tenant, _PICKS):
                raise FunctionNotFound(name)
            return Descriptions(functions=[_described(self._host.describe(name))])
        found = []
        for each in sorted(self._host.snapshot.functions):
            if not permissions.denial(each, tenant, _PICKS):
                try:
                    found.append(_shown(self._host.describe(each)))
                except FunctionNotFound:  # it went meanwhile
                    continue
        return Descriptions(functions=found)


def _described(spec: FunctionSpec) -> Description:
    shown, contract = _shown(spec), contract_of(spec)
    shown.shape, shown.returns, shown.idempotent = contract["shape"], contract["returns"], contract["idempotent"]
    shown.parameters.extend(Parameter(**each) for each in contract["parameters"])
    shown.payload_schema = to_json(contract["payload_schema"])
    shown.result_schema = to_json(contract["result_schema"])
    return shown


def _shown(spec: FunctionSpec) -> Description:
    return Description(name=spec.name, version=spec.version, plugin=spec.plugin or "", about=spec.summary or "")
