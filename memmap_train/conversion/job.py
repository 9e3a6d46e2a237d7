"""The identity of a conversion, by which a rerun recognizes what an interrupted run has finished.

Benchmarks take no part: they are joined after the eras are written, and are found again by their
checksums.
"""

from typing import Any

from ..dataset.manifest import Manifest
from .era_policy import EraPolicy
from .journal import Journal
from .plan import ConversionPlan
from .source import ConversionSource
from .workspace import Workspace


def open_journal(
    workspace: Workspace,
    source: ConversionSource,
    plan: ConversionPlan,
    old: Manifest | None,
    *,
    trust_features: bool,
) -> Journal:
    """Return the journal of this conversion, with the eras that an interrupted run has finished."""
    job = _job(source, plan, old)
    if old is None:
        return Journal(workspace, job)
    policy = EraPolicy.of_update(old, trusts_features=trust_features)
    return Journal(workspace, job | {"trusts_features": trust_features}, policy)


def _job(source: ConversionSource, plan: ConversionPlan, old: Manifest | None) -> dict[str, Any]:
    """Return the identity of a conversion: with an equal job a rerun resumes it."""
    schema = plan.columns.schema
    return {
        "job_version": 4,
        "updates": None if old is None else old.digest,
        "origin": source.identity(),
        "dtype": plan.options.dtype,
        "missing": plan.options.missing,
        "features": list(schema.features),
        "targets": list(schema.targets),
        "columns": {"era": schema.era, "id": schema.id},
        "alias": plan.columns.alias,
        "rows_per_era": plan.rows_per_era,
    }
