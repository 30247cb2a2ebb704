import hashlib

import torch

from docendo.data import generator, seed_for


def test_a_seed_is_the_hash_of_what_it_is_for():
    digest = hashlib.blake2b(b"i2:42s7:teacheri1:3s5:order", digest_size=8).digest()
    assert seed_for(42, "teacher", 3, "order") == int.from_bytes(digest, "big") // 2


def test_names_that_look_alike_give_different_seeds():
    names = [
        (),
        (0,),
        ("0",),
        (0, 0),
        (-1,),
        (1,),
        ("ab",),
        ("a", "b"),
        ("a", ""),
        ("", "a"),
        ("s1:a",),
        (12, 3),
        (1, 23),
    ]
    assert len({seed_for(*name) for name in names}) == len(names)
    assert all(0 <= seed_for(*name) < 2**63 for name in names)


def test_a_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first, second = (torch.rand(3, generator=generator(1, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
