"""Reading through the cache: what a namespace's revision decides is computed once for each revision.

The database is asked first, each time: whether the caller may ask, and at what revision the namespace stands. Only
then is the answer for that revision looked up, so no entry can be stale, and a change of rights counts at once. What
isn't there is computed between two looks at the revision, and kept only when both are the same: with a database that
shows each statement the latest state, a commit may come between. Now and then an answer from the cache is computed all
the same and compared: there is never a difference, or the cache has a fault, and the database's answer is given.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from shared.domain.ids import NamespaceId
from shared.ports.cache import Cache
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_namespaces import Revision

T = TypeVar("T")
U = TypeVar("U")

_log = logging.getLogger(__name__)

FORMAT = 2
"""To be raised with any change of what entries look like: what one deployment keeps, the next one reads."""


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What is asked of a namespace, such that its revision alone decides the answer, whoever asks.

    `kind` and `asked` name it, with all that the answer depends on beside the revision; a kind has one form. `may_ask`
    says which namespace it is about, and raises when the caller may not ask; `answer` raises for what isn't there, and
    that is never kept.
    """

    kind: str
    asked: tuple[str | int | None, ...]
    may_ask: Callable[[Transaction], NamespaceId]
    answer: Callable[[Transaction, NamespaceId], T]

    def now(self, tx: Transaction) -> T:
        """The answer, without a cache."""
        return self.answer(tx, self.may_ask(tx))

    def then(self, show: Callable[[T], U]) -> "Question[U]":
        """The same question, answered by what `show` makes of the answer."""
        answer = self.answer
        return Question(self.kind, self.asked, self.may_ask, lambda tx, ns: show(answer(tx, ns)))

    def key(self, namespace: NamespaceId, at: Revision) -> str:
        """Names the answer at a revision."""
        asked = hashlib.sha256(json.dumps(self.asked).encode()).hexdigest()[:32]
        return f"{self.kind}:{FORMAT}:{namespace}:{at.epoch}:{at.seq}:{at.upkeep}:{asked}"


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How an answer is kept; `load` raises msgspec.DecodeError for what `dump` didn't make."""

    dump: Callable[[T], bytes]
    load: Callable[[bytes], T]


AS_IT_IS: Form[bytes] = Form(lambda value: value, lambda kept: kept)


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """An answer and its entity tag: 32 hexadecimal digits, None where the namespace changed meanwhile.

    `value` is None when the caller holds what the tag stands for.
    """

    value: T | None
    tag: str | None


@dataclass(slots=True)
class Counts:
    """What the cache did for this process: `checked` of the hits were compared with the database."""

    hits: int = 0
    misses: int = 0
    checked: int = 0
    mismatches: int = 0


@dataclass(frozen=True)
class Remembering:
    """`cache` is None where there is none; of `check_one_in` hits, one is compared."""

    metadata: Metadata
    cache: Cache | None
    check_one_in: int
    counts: Counts = field(default_factory=Counts, init=False)

    async def __call__(
        self, question: Question[T], form: Form[T], *, held: Set[str] = frozenset()
    ) -> Known[T]:
        """The answer; `held` are the tags of what the caller has already. Raises as the question does."""
        if self.cache is None:
            return await self.metadata.read(lambda tx: _computed(tx, question, held))
        namespace, at = await self.metadata.read(lambda tx: _standing(tx, question))
        key = question.key(namespace, at)
        tag = _tag(key)
        if tag in held:
            return Known(None, tag)
        kept = await self.cache.get(key)
        if kept is not None:
            try:
                value = form.load(kept)
            except msgspec.DecodeError:
                _log.exception("the cache has a %s in a form that is not known here", question.kind)
            else:
                self.counts.hits += 1
                if self.counts.hits % self.check_one_in:
                    return Known(value, tag)
                return await self._checked(self.cache, question, form, tag, kept)
        self.counts.misses += 1
        return await self._computed(self.cache, question, form)

    async def _computed(self, cache: Cache, question: Question[T], form: Form[T]) -> Known[T]:
        def work(tx: Transaction) -> tuple[T, str | None, bytes]:
            value, key = _between_looks(tx, question)
            return value, key, form.dump(value) if key is not None else b""

        value, key, dumped = await self.metadata.read(work)
        if key is None:
            return Known(value, None)
        await cache.put(key, dumped)
        return Known(value, _tag(key))

    async def _checked(
        self, cache: Cache, question: Question[T], form: Form[T], tag: str, kept: bytes
    ) -> Known[T]:
        def work(tx: Transaction) -> tuple[T, str | None, bytes]:
            value, key = _between_looks(tx, question)
            return value, key, form.dump(value)

        value, key, dumped = await self.metadata.read(work)
        now = _tag(key) if key is not None else None
        if now == tag:
            self.counts.checked += 1
            if dumped != kept:
                self.counts.mismatches += 1
                _log.error(
                    "the cache had another %s than the database; the database's is given", question.kind
                )
        return Known(value, now)


def _computed(tx: Transaction, question: Question[T], held: Set[str]) -> Known[T]:
    if held:
        namespace, at = _standing(tx, question)
        tag = _tag(question.key(namespace, at))
        if tag in held:
            return Known(None, tag)
    value, key = _between_looks(tx, question)
    return Known(value, _tag(key) if key is not None else None)


def _standing(tx: Transaction, question: Question[T]) -> tuple[NamespaceId, Revision]:
    namespace = question.may_ask(tx)
    return namespace, tx.namespaces.revision(namespace)


def _between_looks(tx: Transaction, question: Question[T]) -> tuple[T, str | None]:
    """The answer, and its key when the namespace stood still while it was computed."""
    namespace, before = _standing(tx, question)
    value = question.answer(tx, namespace)
    after = tx.namespaces.revision(namespace)
    return value, question.key(namespace, before) if after == before else None


def _tag(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
