"""What has come of a run, until now or at its end."""

RUNNING, DONE, DEGRADED, STOPPED, INTERRUPTED = (
    "running",
    "done",
    "degraded",
    "stopped",
    "interrupted",
)
# A run that is through, whether or not somebody has to look at something.
FINISHED = (DONE, DEGRADED)
