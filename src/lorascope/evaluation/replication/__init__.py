"""The replication kit: adapters of a published library are measured again, and what its paper says is tested."""

from lorascope.evaluation.replication.kit import Replication
from lorascope.evaluation.replication.plan import ReplicationPlan

__all__ = ["Replication", "ReplicationPlan"]
