"""One user's changes of a tree, in any order, each carried out twice: by the product and by the model.

A rule picks its nodes by number from those that the model has, so that an example shrinks to few steps.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from shared.domain.errors import FolderCycle, NameExists, NotFound
from shared.domain.ids import NodeId
from shared.domain.names import parse_path
from shared.ports.tables_files import NodeKind
from tests.property.tree_model import Item, Model
from tests.support.databases import copy_of
from tests.support.world import World, make_world

T = TypeVar("T")

names = st.sampled_from(["a", "A", "b", "ß", "SS", "e\u0301", "é", "100%"])
"""Few, so that they clash, some by case or form only."""

contents = st.sampled_from([b"1", b"22", b"333", b"4444"])
picks = st.integers(0, 1000)


class TreeMachine(RuleBasedStateMachine):
    """`template` is a migrated database, to be set by the test."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.world: World = make_world(copy_of(self.template, Path(self.folder.name)))
        self.ann = self.run(self.world.caller("ann"))
        self.model = Model(NodeId(self.run(self.world.namespace_of(self.ann))))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.world.metadata.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    # --- what can be done

    @rule(pick=picks, name=names, content=contents)
    def upload(self, pick: int, name: str, content: bytes) -> None:
        """A new file, a new version, or a name that is taken."""
        parent = _choose(self.model.folders(), pick)
        there = self.model.child(parent, name)
        upload = self.world.upload(self.ann, self.model.path_in(parent, name), content)
        spelled = parse_path(name)[0].text
        if there is not None and (not there.is_file or there.name != spelled):
            with pytest.raises(NameExists):
                self.run(upload)
            return
        made = self.run(upload)
        if there is None:
            self.model.items[made.file_id] = Item(made.file_id, parent, spelled, [content])
            return
        assert made.file_id == there.id
        assert made.unchanged == (there.contents[-1] == content)
        if not made.unchanged:
            there.contents.append(content)

    @rule(pick=picks, name=names)
    def make(self, pick: int, name: str) -> None:
        parent = _choose(self.model.folders(), pick)
        path = parse_path(self.model.path_in(parent, name))
        make = self.world.change_folders.make(self.ann, None, path, key=None)
        if self.model.child(parent, name):
            with pytest.raises(NameExists):
                self.run(make)
            return
        made = self.run(make)
        folder = NodeId(made["folder_id"])
        self.model.items[folder] = Item(folder, parent, path[-1].text)
        assert made["path"] == self.model.path(folder)

    @precondition(lambda self: self.model.living(files=True) or self.model.living(files=False))
    @rule(files=st.booleans(), pick=picks, into=picks, name=names)
    def move(self, files: bool, pick: int, into: int, name: str) -> None:
        node = self._living(files, pick)
        if node is None:
            return
        self._move(node, _choose(self.model.folders(), into), name)

    @precondition(lambda self: self.model.living(files=True) or self.model.living(files=False))
    @rule(files=st.booleans(), pick=picks, name=names)
    def rename(self, files: bool, pick: int, name: str) -> None:
        node = self._living(files, pick)
        if node is None:
            return
        self._move(node, self.model.items[node].parent, name)

    def _move(self, node: NodeId, parent: NodeId, name: str) -> None:
        item, path = self.model.items[node], parse_path(self.model.path_in(parent, name))
        kind = NodeKind.FILE if item.is_file else NodeKind.FOLDER
        move = self.world.change_folders.move(self.ann, node, kind, path, key=None)
        there = self.model.child(parent, name)
        if self.model.is_within(parent, node):
            with pytest.raises(FolderCycle):
                self.run(move)
        elif there is not None and there is not item:
            with pytest.raises(NameExists):
                self.run(move)
        else:
            moved = self.run(move)
            item.parent, item.name = parent, path[-1].text
            assert moved["path"] == self.model.path(node)

    @precondition(lambda self: self.model.living(files=True) or self.model.living(files=False))
    @rule(files=st.booleans(), pick=picks)
    def delete(self, files: bool, pick: int) -> None:
        node = self._living(files, pick)
        if node is None:
            return
        if self.model.items[node].is_file:
            self.run(self.world.delete_file(self.ann, node))
        else:
            self.run(self.world.change_folders.delete(self.ann, node, key=None))
        self.model.items[node].trashed = True

    @precondition(lambda self: self.model.trash())
    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        item = self.model.items[_choose(self.model.trash(), pick)]
        restore = self.world.use_trash.restore(self.ann, item.id, path=None, key=None)
        if not self.model.is_living(item.parent):
            with pytest.raises(NotFound):
                self.run(restore)
        elif self.model.child(item.parent, item.name):
            with pytest.raises(NameExists):
                self.run(restore)
        else:
            back = self.run(restore)
            item.trashed = False
            assert back["path"] == self.model.path(item.id)

    @precondition(lambda self: self.model.trash())
    @rule(pick=picks, into=picks, name=names)
    def restore_elsewhere(self, pick: int, into: int, name: str) -> None:
        item = self.model.items[_choose(self.model.trash(), pick)]
        parent = _choose(self.model.folders(), into)
        path = parse_path(self.model.path_in(parent, name))
        restore = self.world.use_trash.restore(self.ann, item.id, path=path, key=None)
        if self.model.child(parent, name):
            with pytest.raises(NameExists):
                self.run(restore)
        else:
            self.run(restore)
            item.trashed, item.parent, item.name = False, parent, path[-1].text

    @precondition(lambda self: self.model.trash())
    @rule(pick=picks)
    def purge(self, pick: int) -> None:
        node = _choose(self.model.trash(), pick)
        gone = self.model.purge(node)
        purged = self.run(self.world.use_trash.purge(self.ann, node, key=None))
        assert purged["files"] == sum(item.is_file for item in gone)
        assert purged["bytes"] == sum(len(item.contents[-1]) for item in gone if item.is_file)

    def _living(self, files: bool, pick: int) -> NodeId | None:
        """A living node of the kind, or of the other one where there is none."""
        found = self.model.living(files=files) or self.model.living(files=not files)
        return _choose(found, pick) if found else None


def _choose(some: list[NodeId], pick: int) -> NodeId:
    return some[pick % len(some)]
