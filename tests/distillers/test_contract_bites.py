"""Deliberately wrong distillers: each breaks exactly the checks named beside it."""

import pytest
import torch
from torch import Tensor, nn

from distillers import Distiller
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import built


class Right(Distiller):
    """L = mean_i |w (f_s)_i - (f_t)_i|², over the first channels, with one memory of its value."""

    paper = "Nobody. A Distiller that Keeps the Contract. 2026"
    reads = ("pooled",)
    seen: Tensor

    def __init__(self, setting) -> None:
        super().__init__(setting)
        width = min(setting.student.pooled, setting.teacher.pooled)
        self.weight = nn.Parameter(torch.rand(width))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, student, teacher, batch):
        width = len(self.weight)
        noise = torch.rand((), generator=self.rng if self.training else self.rng.clone_state())
        error = self.weight * student.pooled[:, :width] - teacher.pooled[:, :width]
        loss = error.square().mean() * (1 + self.seen) + noise
        if self.training:
            self.remember(loss.detach())
        return loss

    @torch.no_grad()
    def remember(self, loss) -> None:
        self.seen.copy_(loss)

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or Right.__doc__


class Vector(Right):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + student.pooled.sum(1)


class NotFinite(Right):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + torch.inf


class Detached(Right):
    def forward(self, student, teacher, batch):
        return self.weight.sum() * student.pooled.detach().mean()


class Idle(Right):
    def __init__(self, setting) -> None:
        super().__init__(setting)
        self.idle = nn.Linear(2, 2)


class Undeclared(Right):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + student.logits.mean()


class Unread(Right):
    reads = ("pooled", "logits")


class Taught(Right):
    taught = False


class Overwrites(Right):
    def forward(self, student, teacher, batch):
        teacher.pooled.sub_(1)
        return super().forward(student, teacher, batch)


class GlobalDraw(Right):
    def forward(self, student, teacher, batch):
        torch.rand(())
        return super().forward(student, teacher, batch)


class LearnsInEvaluation(Right):
    def forward(self, student, teacher, batch):
        loss = super().forward(student, teacher, batch)
        self.remember(loss.detach())
        return loss


class DrawsInEvaluation(Right):
    def forward(self, student, teacher, batch):
        torch.rand((), generator=self.rng)
        return super().forward(student, teacher, batch)


class Forgets(Right):
    steps = 0

    def forward(self, student, teacher, batch):
        self.steps += self.training
        return super().forward(student, teacher, batch) * (1 + self.steps)


class Rebinds(Right):
    def remember(self, loss) -> None:
        self.seen = loss


class Waits(Right):
    def forward(self, student, teacher, batch):
        loss = super().forward(student, teacher, batch)
        return loss if loss > 0 else -loss


class Chooses(Right):
    def forward(self, student, teacher, batch):
        positive = student.pooled[student.pooled > 0]
        return super().forward(student, teacher, batch) + positive.sum()


class Strays(Right):
    def forward(self, student, teacher, batch):
        stray = torch.ones((), requires_grad=True)
        return super().forward(student, teacher, batch) * stray


class NeedsTwo(Right):
    def forward(self, student, teacher, batch):
        spread = student.pooled.detach().var(0, correction=0).sum()
        return super().forward(student, teacher, batch) + student.pooled.mean() / spread


class NoPaper(Right):
    paper = "-"


class NoFormula(Right):
    """A loss that says nothing of itself."""


class Undecays(Right):
    undecayed = ("nothing",)


class Untyped(Right):
    def __init__(self, setting, *, option=1) -> None:
        super().__init__(setting)


class Positional(Right):
    def __init__(self, setting, option: int = 1) -> None:
        super().__init__(setting)


WRONG = {
    Right: set(),
    Vector: {"loss_is_a_finite_scalar"},
    NotFinite: {"loss_is_a_finite_scalar", "a_single_sample_is_enough"},
    Detached: {"gradient_reaches_all_that_is_read"},
    Idle: {"gradient_reaches_every_parameter"},
    Undeclared: {"only_declared_fields_are_read"},
    Unread: {"gradient_reaches_all_that_is_read"},
    Taught: {"an_untaught_distiller_ignores_the_teacher"},
    Overwrites: {"networks_tensors_are_not_written_to"},
    GlobalDraw: {"global_generators_are_left_alone"},
    LearnsInEvaluation: {"evaluation_is_pure"},
    DrawsInEvaluation: {"evaluation_is_pure"},
    Forgets: {"state_dict_is_all_there_is_to_resume"},
    Rebinds: {"buffers_stay_in_place"},
    Waits: {"device_is_never_waited_for"},
    Chooses: {"device_is_never_waited_for"},
    Strays: {"leaves_are_inputs_or_parameters"},
    NeedsTwo: {"a_single_sample_is_enough"},
    NoPaper: {"paper_and_formula_are_told"},
    NoFormula: {"paper_and_formula_are_told"},
    Undecays: {"declarations_are_true"},
    Untyped: {"signature_is_a_schema"},
    Positional: {"signature_is_a_schema"},
}


def breaks(kind: type[Distiller], check: str) -> bool:
    try:
        CHECKS[check](lambda seed: built(kind, seed))
    except (AssertionError, RuntimeError):  # torch raises the latter where a fake tensor is read
        return True
    return False


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_exactly_its_checks_catch_it(kind):
    assert {check for check in CHECKS if breaks(kind, check)} == WRONG[kind]


def test_every_check_catches_something():
    assert set.union(*WRONG.values()) == set(CHECKS)
