"""The public names are pinned: adding or losing one is a decision."""

import jackfield


def test_all_is_sorted_and_complete():
    """`__all__` is sorted, has no doubles, and names everything public that the package binds."""
    assert jackfield.__all__ == sorted(set(jackfield.__all__))
    assert all(hasattr(jackfield, name) for name in jackfield.__all__)
