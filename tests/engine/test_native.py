"""Native objects: freed once, and before what they were made from."""

from __future__ import annotations

import gc
import threading

import pytest

from ggufsurgeon.engine.native import NativeObject
from ggufsurgeon.errors import UsageError

Freed = list[str]


def family(freed: Freed) -> tuple[NativeObject, NativeObject, NativeObject]:
    parent = NativeObject("parent", freed.append, "the parent is closed")
    child = NativeObject("child", freed.append, "the child is closed", parent)
    return parent, child, NativeObject("grandchild", freed.append, "it is closed", child)


def test_what_was_made_of_it_is_freed_first_and_all_once() -> None:
    freed: Freed = []
    parent, child, grandchild = family(freed)
    assert (parent.handle, child.handle, grandchild.handle) == ("parent", "child", "grandchild")
    parent.free()
    assert freed == ["grandchild", "child", "parent"]
    for one in (parent, child, grandchild):
        one.free()
        with pytest.raises(UsageError, match="closed"):
            _ = one.handle
    assert len(freed) == 3


def test_one_freed_by_itself_leaves_the_others() -> None:
    freed: Freed = []
    parent, child, _grandchild = family(freed)
    child.free()
    assert (freed, parent.handle) == (["grandchild", "child"], "parent")


def test_a_parent_that_nobody_else_keeps_lives_on() -> None:
    freed: Freed = []
    parent, child, grandchild = family(freed)
    del parent, child
    gc.collect()
    assert freed == []
    del grandchild
    gc.collect()
    assert freed == ["grandchild", "child", "parent"]


class Owner:
    """Has a native object, and knows others that do."""

    def __init__(self, native: NativeObject) -> None:
        self.native = native
        self.others: list[Owner] = []


def test_owners_in_a_cycle_are_freed_in_order() -> None:
    freed: Freed = []
    owners = [Owner(native) for native in family(freed)]
    for owner in owners:
        owner.others = owners
    del owners, owner
    gc.collect()
    assert freed == ["grandchild", "child", "parent"]


def test_freeing_waits_until_nothing_computes() -> None:
    freed: Freed = []
    parent, child, grandchild = family(freed)
    assert parent.lock is child.lock is grandchild.lock
    thread = threading.Thread(target=grandchild.free)
    with parent.lock:
        thread.start()
        thread.join(0.2)
        assert freed == []
    thread.join()
    assert freed == ["grandchild"]
