"""Uploads and downloads of one plan, side by side, and the base rows that follow from them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from client.crew import Crew
from client.errors import CommandFailed
from client.pack_fetching import GROUP_CONTENT, GROUP_FILES
from client.reading import Identity
from client.sync.actions import Action, Download, Upload
from client.sync.base_rows import BaseChange, Put, Refill
from client.sync.contents import Read
from client.sync.decisions import Trees
from client.sync.downloading import Downloader
from client.sync.ledger import Ledger
from client.sync.local_changes import Outdated
from client.sync.manifests import Blocks, Manifests
from client.sync.new_folders import NewFolders
from client.sync.outcomes import Outcomes
from client.sync.scanning import is_racy_at
from client.sync.small_landings import Landed
from client.sync.tally import Tally
from client.sync.trees import BaseEntry, Content, Fingerprint, Kind
from client.sync.uploading import Done, Outcome, Uploader
from client.targets import nanoseconds
from client.wire import Committed
from shared.domain.cutting import MIN_SIZE
from shared.domain.ids import NodeId, VersionId


class Transfers:
    """Has contents carried, and tells the outcomes; `has_row` of the ledger decides which rows are new."""

    def __init__(
        self,
        crew: Crew,
        uploader: Callable[[Done], Uploader],
        downloader: Downloader,
        *,
        folders: NewFolders,
        ledger: Ledger,
        outcomes: Outcomes,
        manifests: Manifests,
        trees: Trees,
        tally: Tally,
    ) -> None:
        self._crew = crew
        self._uploader = uploader(self._uploaded)
        self._downloader = downloader
        self._folders = folders
        self._ledger = ledger
        self._outcomes = outcomes
        self._manifests = manifests
        self._trees = trees
        self._tally = tally

    def begin(self, actions: Sequence[Action]) -> None:
        """Begin all of them; they are through when the crew is drained."""
        self._uploader.put_all(action for action in actions if isinstance(action, Upload))
        for group in _groups(action for action in actions if isinstance(action, Download)):
            # The files of a group are opened one after the other, so they take one file's room.
            self._crew.hold(1)
            if len(group) == 1:
                self._crew.submit(partial(self._downloader.begin, group[0], partial(self._came, group[0])))
            else:
                self._crew.submit(partial(self._begin_group, group))

    def leave_all(self) -> None:
        """Close what the end of the run has left open."""
        self._downloader.leave_all()

    def _uploaded(self, action: Upload, outcome: Outcome) -> None:
        match outcome:
            case Committed():
                self._outcome(action, partial(self._rows_of_upload, action, outcome))
            case Outdated():
                self._outcomes.outdated(action, outcome)
            case CommandFailed():
                self._outcomes.failed(action, outcome)

    def _rows_of_upload(self, action: Upload, outcome: Committed) -> tuple[list[BaseChange], list[Read]]:
        self._count(action, "uploaded", self._manifests.blocks(action.content))
        version = VersionId(outcome.version_id)
        if action.node_id is not None and self._ledger.has_row(action.node_id):
            return [Refill(action.node_id, action.content, version, action.fingerprint)], []
        node, parent = NodeId(outcome.file_id), self._folders.parent_of(action)
        name = action.remote_path[-1]
        row = BaseEntry(node, parent, name, Kind.FILE, action.content, version, action.fingerprint)
        return [Put(row, action.instead_of)], []

    def _begin_group(self, group: list[Download]) -> None:
        self._downloader.begin_group([(action, partial(self._downloaded, action)) for action in group])
        self._crew.release(1)

    def _came(self, action: Download, outcome: Landed | CommandFailed | Outdated) -> None:
        self._crew.release(1)
        self._downloaded(action, outcome)

    def _downloaded(self, action: Download, outcome: Landed | CommandFailed | Outdated) -> None:
        match outcome:
            case Landed():
                self._outcome(action, partial(self._rows_of_download, action, outcome))
            case Outdated():
                self._outcomes.outdated(action, outcome)
            case CommandFailed():
                self._outcomes.failed(action, outcome)

    def _rows_of_download(self, action: Download, outcome: Landed) -> tuple[list[BaseChange], list[Read]]:
        self._tally.fetched(outcome.fetched)
        self._count(action, "downloaded", outcome.blocks)
        # Its blocks were verified on their way to the disk. Whoever writes to it from now on changes its mtime, which
        # is the version's; if that is of this very moment, nobody would see the change, and the next look reads it.
        # As it does when what was found behind the landing has another time: then somebody was there already.
        modified = outcome.identity.modified_ns
        landed = outcome.identity.changed_ns
        clean = modified == nanoseconds(action.modified_at) and not is_racy_at(
            modified, modified, landed, landed
        )
        read = Read(action.path, outcome.identity, outcome.blocks, clean=clean)
        marks = fingerprint_of(outcome.identity)
        if self._ledger.has_row(action.node_id):
            return [Refill(action.node_id, action.content, action.version_id, marks)], [read]
        node, parent = action.node_id, self._folders.parent_of(action)
        row = BaseEntry(node, parent, action.name, Kind.FILE, action.content, action.version_id, marks)
        return [Put(row)], [read]

    def _outcome(
        self, action: Upload | Download, rows: Callable[[], tuple[list[BaseChange], list[Read]]]
    ) -> None:
        try:
            changes, reads = rows()
        except Outdated as error:
            self._outcomes.outdated(action, error)
        else:
            self._outcomes.done(action, changes, reads)

    def _count(self, action: Upload | Download, what: str, blocks: Blocks | None) -> None:
        self._tally.count(what)
        node = action.node_id
        before = self._trees.base[node].content if node and node in self._trees.base else None
        self._tally.changed_bytes(self._new_bytes(action.content, blocks, before))

    def _new_bytes(self, content: Content, blocks: Blocks | None, before: Content | None) -> int:
        if before is None or blocks is None:
            return content.size
        old = {ref.sha256 for ref in self._manifests.blocks(before) or ()}
        return sum({ref.sha256: ref.size for ref in blocks if ref.sha256 not in old}.values())


def _groups(actions: Iterable[Download]) -> Iterator[list[Download]]:
    """Small ones together, as many as may be fetched at once; large ones by themselves."""
    group: list[Download] = []
    size = 0
    for action in actions:
        if action.content.size > MIN_SIZE:
            yield [action]
            continue
        if group and (size + action.content.size > GROUP_CONTENT or len(group) == GROUP_FILES):
            yield group
            group, size = [], 0
        group.append(action)
        size += action.content.size
    if group:
        yield group


def fingerprint_of(identity: Identity) -> Fingerprint:
    """By what a file is known, of all that it is known by while it is read."""
    return Fingerprint(identity.size, identity.modified_ns, identity.inode, identity.device)
