"""The report of a download."""

from dataclasses import dataclass

from .plan import DownloadPlan


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """What a download has done, or would do.

    Attributes
    ----------
    plan : DownloadPlan
    is_dry_run : bool
    received_bytes : int
        Bytes that came over the network, those of broken tries included.
    """

    plan: DownloadPlan
    is_dry_run: bool
    received_bytes: int
