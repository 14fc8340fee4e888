"""What ``ModelManager`` can do about jobs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sire.client.calls.job_wait import wait_for_jobs
from sire.client.connection import Connection
from sire.errors import ProtocolError
from sire.protocol.content import TENSORS, TREE, Payload
from sire.protocol.replies import JobReport, Part, Prediction, Reply, Submitted
from sire.protocol.requests import JobInput, JobResult, ShowJob, Submit
from sire.spec import Job, Priority
from sire.tensors import pack, unpack


class JobCalls(ABC):
    """Submitting, looking at, waiting for and reading jobs."""

    @abstractmethod
    def _connection(self) -> AbstractContextManager[Connection]:
        """A connection to the daemon."""

    def submit(
        self,
        model: str,
        data: Any,
        priority: Priority | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> str:
        """Have a model run whenever it can be, and do not wait.

        Args:
            model: a registered model.
            data: as for ``predict``.
            priority: "high", "normal" or "low"; None for the usual one.
            metadata: what to find with the job again.
            timeout: seconds until the job fails unless it has ended; None for no limit.

        Returns:
            The job's id. By then the job is on disk: it will be run whatever happens to the
            daemon, once or, where that was in the way, again.

        Raises:
            ModelNotFound: no model has this name.
            JobsUnavailable: it cannot be kept; the disk is full, for one.
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
        """How a job stands.

        Raises:
            JobNotFound: there is no job of this id.
        """
        with self._connection() as connection:
            return connection.expect(JobReport, ShowJob(job=job_id)).job

    def wait_job(self, job_id: str, timeout: float | None = None) -> Job:
        """Wait until a job is complete, failed or cancelled; returns it as it is then.

        Raises:
            JobNotFound: there is no job of this id.
            DeadlineExceeded: it has not ended after ``timeout`` seconds; it goes on.
        """
        with self._connection() as connection:
            for _ in wait_for_jobs(connection, [job_id], timeout):
                pass
        return self.job(job_id)

    def job_result(self, job_id: str) -> Any:
        """A job's answer, as ``predict`` would have given it.

        Of a job that was not submitted from Python it is the bytes that were asked for.

        Raises:
            JobNotFound: there is no job of this id.
            DeadlineExceeded: it has not ended yet.
            Cancelled: it was cancelled.
            SireError: what it failed with.
        """
        with self._connection() as connection:
            reply, frames = connection.ask(JobResult(job=job_id))
        return answer_from(reply, frames)


def answer_from(reply: Reply, frames: Sequence[memoryview]) -> Any:
    """The data of a prediction; the bytes where it was not asked for as data.

    Raises:
        ProtocolError: it is no prediction.
    """
    if not isinstance(reply, Prediction | Part):
        raise ProtocolError(f"The daemon answered with {type(reply).__name__}, no prediction.")
    if reply.content_type not in {TENSORS, TREE}:
        return bytes(frames[0])
    return unpack(Payload(reply.content_type, tuple(frames), reply.tensors))
