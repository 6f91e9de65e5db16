"""What a function sees of its own invocation, and how log records find out which one they belong to.

Functions ask for it with a parameter named `context`, as they do in Azure. Beside it runs a context variable:
a record logged anywhere below a function (in a use case, an adapter, an SDK) carries the invocation's id
without anyone having passed it down. The variable follows `await` by itself and is copied into the
worker thread of a plain `def`.
"""

import contextvars
import secrets
import threading
import traceback
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """The invocation that is running here."""

    function: str
    invocation_id: str


current_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("invocation", default=None)

thread_storage = threading.local()
"""Shared by all contexts, as in Microsoft's worker: `invocation_id` is set in the thread that runs a `def`."""


class FailedTry:
    """The exception of the try before, as a function sees it in its retry context."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    @property
    def source(self) -> str:
        return type(self._error).__module__

    @property
    def stack_trace(self) -> str:
        return "".join(traceback.format_exception(self._error))

    @property
    def message(self) -> str:
        return str(self._error)


class RetryContext:
    """`retry_count` is 0 in the first try; `exception` describes the try before."""

    def __init__(self, retry_count: int, max_retry_count: int, error: BaseException | None) -> None:
        self._retry_count, self._max_retry_count, self._error = retry_count, max_retry_count, error

    @property
    def retry_count(self) -> int:
        return self._retry_count

    @property
    def max_retry_count(self) -> int:
        return self._max_retry_count

    @property
    def exception(self) -> FailedTry:
        if self._error is None:
            raise AttributeError("the first try has no exception before it")
        return FailedTry(self._error)


class TraceContext:
    """W3C trace context: taken from the caller's headers, begun here when there are none."""

    def __init__(self, parent: str = "", state: str = "") -> None:
        # version, 16 bytes of trace id, 8 of span id, not sampled: https://www.w3.org/TR/trace-context/
        self._parent = parent or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        self._state = state

    @property
    def trace_parent(self) -> str:
        return self._parent

    @property
    def trace_state(self) -> str:
        return self._state

    @property
    def attributes(self) -> dict[str, str]:
        return {}

    # Microsoft's worker offers both spellings, and its documentation uses the capital ones.
    @property
    def Traceparent(self) -> str:
        return self._parent

    @property
    def Tracestate(self) -> str:
        return self._state


class Context:
    """The object behind a parameter named `context`: the members of `azure.functions.Context`.

    Like the one of Microsoft's worker it is no subclass, since the abstract class promises types that neither returns.
    """

    def __init__(self, scope: Scope, directory: str, trace: TraceContext, retry: RetryContext) -> None:
        self._scope, self._directory, self._trace, self._retry = scope, directory, trace, retry

    @property
    def invocation_id(self) -> str:
        return self._scope.invocation_id

    @property
    def function_name(self) -> str:
        return self._scope.function

    @property
    def function_directory(self) -> str:
        return self._directory

    @property
    def trace_context(self) -> TraceContext:
        return self._trace

    @property
    def retry_context(self) -> RetryContext:
        return self._retry

    @property
    def thread_local_storage(self) -> threading.local:
        return thread_storage
