"""Methods of ``ModelManager`` for jobs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sire.client.calls.job_wait import wait_for_jobs
from sire.client.daemon_client import DaemonClient
from sire.errors import ProtocolError
from sire.protocol.content import TENSORS, TREE, Payload
from sire.protocol.jobs import JobInput, JobReport, JobResult, ShowJob, Submit, Submitted
from sire.protocol.replies import Part, Prediction, Reply
from sire.spec import Job, Priority
from sire.tensors import pack, unpack


class JobCalls(ABC):
    """Submitting, inspecting and waiting for jobs, and reading their results."""

    @abstractmethod
    def _connection(self) -> AbstractContextManager[DaemonClient]:
        """A connection to the daemon."""

    def submit(
        self,
        model: str,
        data: Any,
        priority: Priority | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> str:
        """Submit a durable job, and do not wait for it.

        Args:
            model: a registered model.
            data: the input, as for ``predict``.
            priority: "high", "normal" or "low"; None for normal.
            metadata: text to find with the job later.
            timeout: seconds after which the job fails if it has not ended; None for no limit.

        Returns:
            The job's id. The job is on disk: it runs even if the daemon is killed, at least once.

        Raises:
            ModelNotFound: no model has this name.
            InvalidInput: the data cannot be sent.
            JobsUnavailable: the job cannot be written, for example because the disk is full.
        """
        payload = pack(data)
        given = JobInput(payload.content_type, payload.tensors, len(payload.frames))
        request = Submit(
            model=model,
            inputs=(given,),
            accept=TREE,
            priority=priority,
            metadata=dict(metadata or {}),
            timeout=timeout,
        )
        with self._connection() as connection:
            (job,) = connection.expect(Submitted, request, payload.frames).jobs
        return job

    def job(self, job_id: str) -> Job:
        """The state of a job.

        Raises:
            JobNotFound: no job has this id.
        """
        with self._connection() as connection:
            return connection.expect(JobReport, ShowJob(job=job_id)).job

    def wait_job(self, job_id: str, timeout: float | None = None) -> Job:
        """Wait until a job is complete, failed or cancelled, and return it.

        Raises:
            JobNotFound: no job has this id.
            DeadlineExceeded: it has not ended within ``timeout`` seconds; it continues.
        """
        with self._connection() as connection:
            for _ in wait_for_jobs(connection, [job_id], timeout):
                pass
        return self.job(job_id)

    def job_result(self, job_id: str) -> Any:
        """The result of a job, as ``predict`` returns it.

        For a job that was not submitted from Python it is bytes of the content type requested.

        Raises:
            JobNotFound: no job has this id.
            DeadlineExceeded: it has not ended yet.
            Cancelled: it was cancelled.
            SireError: the error it failed with.
        """
        with self._connection() as connection:
            reply, frames = connection.ask(JobResult(job=job_id))
        return answer_from(reply, frames)


def answer_from(reply: Reply, frames: Sequence[memoryview]) -> Any:
    """The data of a prediction; bytes for a content type other than Python data.

    Raises:
        ProtocolError: the reply is not a prediction.
    """
    if not isinstance(reply, Prediction | Part):
        raise ProtocolError(
            f"The daemon replied with {type(reply).__name__}, not with a prediction."
        )
    if reply.content_type not in {TENSORS, TREE}:
        return bytes(frames[0])
    return unpack(Payload(reply.content_type, tuple(frames), reply.tensors))
