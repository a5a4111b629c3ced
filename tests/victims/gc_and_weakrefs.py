"""Cycles, finalizers and weak references, in the order in which the collector meets them."""

import gc
import os
import random
import weakref


class Node:
    def __init__(self, name):
        self.name = name
        self.other = None

    def __del__(self):
        deleted.append(self.name)


deleted = []
events = []
gc.callbacks.append(lambda phase, about: events.append((phase, about["generation"])))
alive = weakref.WeakValueDictionary()
sets = weakref.WeakSet()
for turn in range(2000):
    left, right = Node(turn), Node(-turn)
    left.other, right.other = right, left
    alive[turn] = left
    sets.add(right)
    if random.random() < 0.01:
        gc.collect(random.randrange(3))
del left, right
gc.collect()
print(len(deleted), sorted(deleted) == sorted(list(range(2000)) + [-number for number in range(2000)]))
print(len(alive), len(sets))
print("~", deleted[:100], events[:50], len(events))
print("~", gc.get_stats(), gc.get_count(), len(gc.get_objects()))
kept = [Node(os.urandom(2).hex()) for _ in range(50)]
finalizers = [weakref.finalize(node, print, "~", "finalized", number) for number, node in enumerate(kept)]
random.shuffle(kept)
print("~", {node: id(node) for node in kept})
while kept:
    kept.pop(random.randrange(len(kept)))
print(sum(finalizer.alive for finalizer in finalizers))
gc.freeze()
print("~", gc.get_freeze_count())
gc.unfreeze()
