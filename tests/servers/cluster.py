"""Three private RabbitMQ nodes that are one cluster, on loopback.

    nodes = cluster_of(3, definitions=text)
    for node in nodes: node.start()        # in any order, also at once: they know one another's names
    ...
    for node in nodes: node.stop()

They find one another when they start for the first time. A node that loses sight of the others stops serving
(`pause_minority`), so of three one may be killed.
"""

from __future__ import annotations

from typing import Any

from tests.servers.rabbitmq import PrivateRabbitMQ


class ClusterNode(PrivateRabbitMQ):
    """One of them."""

    def meet(self, first: ClusterNode, conf: tuple[str, ...]) -> None:
        """Before it is started: trusts the first node's cookie, and is known to the first one's epmd."""
        self._cookie, self._epmd_port = first._cookie, first._epmd_port
        self._conf = (*self._conf, *conf)


def cluster_of(size: int, *, conf: tuple[str, ...] = (), **arguments: Any) -> list[ClusterNode]:
    """The nodes, not started yet.

    Args:
        size: how many; an odd number.
        conf: lines for every node's `rabbitmq.conf`.
        arguments: for `PrivateRabbitMQ`.
    """
    nodes = [ClusterNode(**arguments) for _ in range(size)]
    lines = [
        "cluster_formation.peer_discovery_backend = classic_config",
        "cluster_partition_handling = pause_minority",
        *(f"cluster_formation.classic_config.nodes.{place} = {node.name}" for place, node in enumerate(nodes, 1)),
    ]
    for node in nodes:
        node.meet(nodes[0], (*lines, *conf))
    return nodes
