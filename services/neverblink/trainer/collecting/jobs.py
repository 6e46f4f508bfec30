"""The job that looks pictures over: settings in, progress, result out. It prints nothing."""

from neverblink.job_life.progress import Progress
from neverblink.trainer.collecting.looking_over import look_over
from neverblink.trainer.collecting.results import LookOverResult
from neverblink.trainer.collecting.settings import LookOverJob


def run_look_over(job: LookOverJob, progress: Progress = lambda *_: None) -> LookOverResult:
    """Look over pictures before a fit. Raises DatasetError, PlantError, KafkaError."""
    return look_over(job, progress)
