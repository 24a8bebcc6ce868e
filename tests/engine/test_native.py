"""Native objects: freed once, and before what they were made from."""

from __future__ import annotations

import gc
import threading

import pytest

from ggufsurgeon.engine.native_objects.native import NativeObject
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


def test_a_child_of_two_parents_is_freed_before_either_and_keeps_both() -> None:
    freed: Freed = []
    one, two = (NativeObject(name, freed.append, "it is closed") for name in ("one", "two"))
    child = NativeObject("child", freed.append, "the child is closed", one, two)
    del one
    gc.collect()
    assert freed == []
    two.free()
    assert freed == ["child", "one", "two"], "nobody else kept the first"
    with pytest.raises(UsageError, match="the child is closed"):
        _ = child.handle


def test_families_that_are_joined_have_one_lock() -> None:
    """Also those that were joined before, and what was made from any of them before."""
    freed: Freed = []
    roots = [NativeObject(str(n), freed.append, "it is closed") for n in range(4)]
    before = NativeObject("before", freed.append, "it is closed", roots[3])
    pairs = [NativeObject(str(n), freed.append, "", roots[n], roots[n + 1]) for n in (0, 2)]
    everyone = [*roots, before, *pairs]
    assert not _is_held_by_another(everyone[3], everyone[0])
    NativeObject("all", freed.append, "", roots[3], roots[0])
    for one in everyone:
        assert all(_is_held_by_another(other, one) for other in everyone)


def _is_held_by_another(one: NativeObject, other: NativeObject) -> bool:
    """Whether a thread that wants the lock of one waits for who holds that of the other."""

    def take() -> None:
        with one.lock:
            pass

    thread = threading.Thread(target=take)
    with other.lock:
        thread.start()
        thread.join(0.05)
        waits = thread.is_alive()
    thread.join()
    return waits


def test_a_thread_that_waits_while_families_are_joined_takes_the_lock_of_both() -> None:
    """The lock that it waits for is no longer that of its family when it gets it."""
    freed: Freed = []
    pair = (NativeObject(name, freed.append, "it is closed") for name in ("one", "two"))
    one, two = sorted(pair, key=lambda native: id(native.lock))  # the first is taken first
    taken: list[str] = []

    def take() -> None:
        with one.lock:
            taken.append("one")

    threads = [
        threading.Thread(target=two.lock.join, args=(one.lock,)),
        threading.Thread(target=take),
    ]
    with two.lock:
        for thread in threads:  # the first holds one and waits for two, the second waits for one
            thread.start()
            thread.join(0.1)
    for thread in threads:
        thread.join()
    assert taken == ["one"]
    assert _is_held_by_another(one, two) and _is_held_by_another(two, one)
