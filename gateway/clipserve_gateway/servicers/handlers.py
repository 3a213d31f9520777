"""How servicers are added to gRPC's server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc


class Handlers:
    """Takes the place of the server where generated code adds a servicer: methods are found by name alone.

    Generated code also registers each method, to spare the core that search. But gRPC's asyncio server
    (grpcio 1.85) then waits for all methods anew at every call, which for our thirty takes 0.2 ms.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds them to the server."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """Leaves them out: the generic handlers have them all."""
