"""Deliberately wrong distillers: each fails exactly the checks that `FAILS` lists for it."""

import pytest
import torch
from torch import Tensor, nn

from distillers import Distiller
from distillers.base import Pretraining
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import Subject


class Correct(Distiller):
    """L = (1 + l) mean_ij (w f_s - f_t)²_ij + ε, l the last loss, ε noise, f the pooled features.

    The mean is over the channels that both networks have.
    """

    paper = "Nobody. A Distiller that Fulfils the Contract. 2026"
    reads = ("pooled",)
    last_loss: Tensor

    def __init__(self, setting) -> None:
        super().__init__(setting)
        width = min(setting.student.pooled, setting.teacher.pooled)
        self.weight = nn.Parameter(torch.rand(width))
        self.register_buffer("last_loss", torch.zeros(()))

    def forward(self, student, teacher, batch):
        width = len(self.weight)
        noise = torch.rand((), generator=self.rng if self.training else self.rng.clone_state())
        error = self.weight * student.pooled[:, :width] - teacher.pooled[:, :width]
        loss = error.square().mean() * (1 + self.last_loss) + noise
        if self.training:
            self.store(loss.detach())
        return loss

    @torch.no_grad()
    def store(self, loss) -> None:
        self.last_loss.copy_(loss)

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or Correct.__doc__


class Vector(Correct):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + student.pooled.sum(1)


class NotFinite(Correct):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + torch.inf


class Detached(Correct):
    def forward(self, student, teacher, batch):
        return self.weight.sum() * student.pooled.detach().mean()


class UnusedParameter(Correct):
    def __init__(self, setting) -> None:
        super().__init__(setting)
        self.idle = nn.Linear(2, 2)


class ReadsUndeclared(Correct):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + student.logits.mean()


class DeclaresUnread(Correct):
    reads = ("pooled", "logits")


class ClaimsNoTeacher(Correct):
    uses_teacher = False


class ReadsLabels(Correct):
    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + 0 * batch.labels.sum()


class WritesToFeatures(Correct):
    def forward(self, student, teacher, batch):
        teacher.pooled.sub_(1)
        return super().forward(student, teacher, batch)


class DrawsGlobally(Correct):
    def forward(self, student, teacher, batch):
        torch.rand(())
        return super().forward(student, teacher, batch)


class LearnsInEvaluation(Correct):
    def forward(self, student, teacher, batch):
        loss = super().forward(student, teacher, batch)
        self.store(loss.detach())
        return loss


class DrawsInEvaluation(Correct):
    def forward(self, student, teacher, batch):
        torch.rand((), generator=self.rng)
        return super().forward(student, teacher, batch)


class KeepsStateOutside(Correct):
    steps = 0

    def forward(self, student, teacher, batch):
        self.steps += self.training
        return super().forward(student, teacher, batch) * (1 + self.steps)


class RebindsBuffer(Correct):
    def store(self, loss) -> None:
        self.last_loss = loss


class BranchesOnTensor(Correct):
    def forward(self, student, teacher, batch):
        loss = super().forward(student, teacher, batch)
        return loss if loss > 0 else -loss


class IndexesByMask(Correct):
    def forward(self, student, teacher, batch):
        positive = student.pooled[student.pooled > 0]
        return super().forward(student, teacher, batch) + positive.sum()


class StrayLeaf(Correct):
    def forward(self, student, teacher, batch):
        stray = torch.ones((), requires_grad=True)
        return super().forward(student, teacher, batch) * stray


class NeedsTwoSamples(Correct):
    def forward(self, student, teacher, batch):
        spread = student.pooled.detach().var(0, correction=0).sum()
        return super().forward(student, teacher, batch) + student.pooled.mean() / spread


class NoPaper(Correct):
    paper = "-"


class NoFormula(Correct):
    """A loss without a formula."""


class ExemptsUnknown(Correct):
    undecayed = ("nothing",)


class Untyped(Correct):
    def __init__(self, setting, *, option=1) -> None:
        super().__init__(setting)


class Positional(Correct):
    def __init__(self, setting, option: int = 1) -> None:
        super().__init__(setting)


class StageWithoutGradient(Correct):
    pretraining = Pretraining(3, parameters=("idle",))

    def __init__(self, setting) -> None:
        super().__init__(setting)
        self.idle = nn.Linear(2, 2)


class HeadWithoutClasses(Correct):
    def predict(self, student):
        return student.pooled


FAILS = {
    Correct: set(),
    StageWithoutGradient: {"gradient_of_the_stage_reaches_its_parameters"},
    HeadWithoutClasses: {"head_predicts_logits_from_declared_features"},
    Vector: {"loss_is_a_finite_scalar"},
    NotFinite: {"loss_is_a_finite_scalar", "loss_accepts_a_single_sample"},
    Detached: {"gradient_reaches_every_declared_feature"},
    UnusedParameter: {"gradient_reaches_every_parameter"},
    ReadsUndeclared: {"only_declared_features_are_read"},
    DeclaresUnread: {"gradient_reaches_every_declared_feature"},
    ClaimsNoTeacher: {"loss_ignores_the_teacher_unless_declared"},
    ReadsLabels: {"labels_and_indices_are_read_only_if_declared"},
    WritesToFeatures: {"features_are_not_written_to"},
    DrawsGlobally: {"global_generators_are_not_used"},
    LearnsInEvaluation: {"evaluation_mode_changes_nothing"},
    DrawsInEvaluation: {"evaluation_mode_changes_nothing"},
    KeepsStateOutside: {"state_dict_suffices_to_resume"},
    RebindsBuffer: {"buffers_stay_in_place"},
    BranchesOnTensor: {"forward_never_waits_for_the_device"},
    IndexesByMask: {"forward_never_waits_for_the_device"},
    StrayLeaf: {"graph_leaves_are_features_or_parameters"},
    NeedsTwoSamples: {"loss_accepts_a_single_sample"},
    NoPaper: {"paper_and_formula_are_documented"},
    NoFormula: {"paper_and_formula_are_documented"},
    ExemptsUnknown: {"declared_names_exist"},
    Untyped: {"signature_is_a_schema"},
    Positional: {"signature_is_a_schema"},
}


def fails(cls: type[Distiller], check: str) -> bool:
    try:
        CHECKS[check](Subject(cls))
    except (AssertionError, RuntimeError):  # torch raises it when code reads a fake tensor
        return True
    return False


@pytest.mark.parametrize("cls", FAILS, ids=lambda cls: cls.__name__)
def test_distiller_fails_exactly_the_listed_checks(cls):
    assert {check for check in CHECKS if fails(cls, check)} == FAILS[cls]


def test_every_check_catches_a_wrong_distiller():
    assert set.union(*FAILS.values()) == set(CHECKS)
