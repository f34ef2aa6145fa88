"""The recipe of the control that trains as long as teacher and student together."""

from collections.abc import Mapping

from bench.spec import Recipe
from bench.suite import Pair


def longer_recipe(pair: Pair, pairs: Mapping[str, Pair]) -> Recipe:
    """Return the student's recipe with the epochs of teacher and student, and later milestones.

    An ensemble has the epochs of all its members. A student of another pair that teaches has the
    epochs of its own teacher, too. A checkpoint counts as trained with the recipe of teachers.

    Args:
        pair: Teacher and student.
        pairs: All pairs of the suite, by name.
    """
    recipe = pair.recipe
    epochs = recipe.epochs + _epochs_of_teacher(pair, pairs)
    milestones = tuple(round(each * epochs / recipe.epochs) for each in recipe.milestones)
    return recipe.changed({"epochs": epochs, "milestones": milestones})


def _epochs_of_teacher(pair: Pair, pairs: Mapping[str, Pair]) -> int:
    teacher = pair.teacher
    epochs = teacher.members * teacher.recipe.epochs
    if teacher.student_of is None:
        return epochs
    return epochs + _epochs_of_teacher(pairs[teacher.student_of[0]], pairs)
