"""Maps of a student at the widths of a teacher's."""

import torch

from docendo.branches import SameWidths, StagePairs
from docendo.networks import create, parameters
from tests.tiny import NETWORKS


def test_only_other_widths_are_changed() -> None:
    teacher, student = (create(NETWORKS["native"][r], classes=10, channels=1) for r in ("teacher", "student"))
    widths = SameWidths(StagePairs.of("1:1,3:2", teacher, student), teacher, student)
    first, second = torch.randn(2, 8, 3, 3), torch.randn(2, 12, 3, 3)
    assert widths("1:1", first) is first
    weight = widths["3:2"].weight.flatten(1)
    torch.testing.assert_close(widths("3:2", second), torch.einsum("dc,bchw->bdhw", weight, second))
    assert parameters(widths) == 12 * 24
