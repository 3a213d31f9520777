"""Every RPC of a service is answered by exactly one servicer."""

from __future__ import annotations

import pytest
from clipserve.v1 import labels_pb2
from clipserve_gateway.calls.method import methods_of

SERVICE = labels_pb2.DESCRIPTOR.services_by_name["LabelSetService"]


class Reads:
    def GetLabelSet(self): ...

    def ListLabelSets(self): ...


class Writes:
    def PutLabelSet(self): ...

    def DeleteLabelSet(self): ...


def test_servicers_share_the_methods_of_a_service():
    reads, writes = Reads(), Writes()
    methods = {method.name: method for method in methods_of(SERVICE, reads, writes)}
    assert set(methods) == {rpc.name for rpc in SERVICE.methods}
    assert methods["GetLabelSet"].handler == reads.GetLabelSet
    assert methods["GetLabelSet"].path == "/clipserve.v1.LabelSetService/GetLabelSet"
    assert methods["GetLabelSet"].request is labels_pb2.GetLabelSetRequest
    assert methods["PutLabelSet"].handler == writes.PutLabelSet


@pytest.mark.parametrize("servicers", [(Reads(),), (Reads(), Writes(), Reads())])
def test_a_method_without_a_servicer_or_with_two_is_an_error(servicers):
    with pytest.raises(ValueError, match="unpack"):
        list(methods_of(SERVICE, *servicers))
