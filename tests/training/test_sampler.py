import torch

from training.sampler import EpochSampler


def make(seed=0, num_frames=7):
    return EpochSampler(num_frames, torch.Generator().manual_seed(seed))


def test_every_frame_comes_once_per_epoch():
    sampler = make()
    for _ in range(3):
        assert sorted(sampler.next() for _ in range(7)) == list(range(7))


def test_upcoming_shows_what_next_will_give_across_epochs():
    sampler = make()
    for _ in range(5):
        sampler.next()
    upcoming = sampler.upcoming(9)
    assert [sampler.next() for _ in range(9)] == upcoming


def test_restored_sampler_goes_on_with_the_same_order():
    sampler = make()
    for _ in range(10):
        sampler.next()
    sampler.upcoming(3)
    other = make(seed=5)
    other.restore(sampler.state())
    other.generator.set_state(sampler.generator.get_state())
    assert [sampler.next() for _ in range(30)] == [other.next() for _ in range(30)]


def test_order_is_a_function_of_the_seed():
    orders = [[sampler.next() for _ in range(14)] for sampler in (make(0), make(0), make(1))]
    assert orders[0] == orders[1] != orders[2]
