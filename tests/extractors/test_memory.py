"""Memory that a network keeps for the next photo."""

import copy
import pickle

from photoglue.extractors.memory import Memory


def test_memory_is_used_again_and_no_map_is_given_twice():
    memory = Memory()
    one, other = memory.take("fine", 16, 8, 4), memory.take("fine", 16, 8, 4)
    assert one.data_ptr() != other.data_ptr()
    assert one.permute(0, 2, 3, 1).is_contiguous()
    place = one.data_ptr()
    memory.give("fine", one)
    assert memory.take("fine", 16, 7, 4).data_ptr() == place
    assert memory.take("fine", 16, 7, 4).data_ptr() != place


def test_memory_much_too_large_is_let_go():
    memory = Memory()
    large = memory.take("fine", 16, 80, 40)
    place = large.data_ptr()
    memory.give("fine", large)
    assert memory.take("fine", 16, 8, 4).data_ptr() != place


def test_it_is_not_copied_or_saved():
    memory = Memory()
    memory.give("fine", memory.take("fine", 16, 8, 4))
    for other in (copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):
        assert not other._kept
