"""The plan of a training: what is trained on what, as a record and as text.

`training.plan` makes it. Imports no TensorFlow.
"""

from dataclasses import dataclass

from ...text import counted, in_bytes
from .cost import TrainCost


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """The plan of a training.

    Attributes
    ----------
    n_train_eras, n_train_rows, n_validation_eras, n_validation_rows, n_embargo_eras : int
    train_range, validation_range : str
        The first and the last era of each side: "0001 to 0232".
    embargo : str or None
        Assumptions of the automatic embargo, if they aren't obvious.
    transform : str or None
        How targets are transformed, and how many rows have no benchmark for it, if they are.
    monitored : str or None
        The monitored score and what it refers to, if that is something beside the targets.
    baseline : str or None
        What is trained afterwards to compare with, if anything is.
    n_features, n_targets, n_parameters : int
    model : str
        The model as the configuration names it.
    precision : str or None
        What hidden layers compute in, and whether that is slow here, if it isn't float32.
    buffer_bytes : int
        Bytes of data that training and validation hold at once.
    state_bytes : int
        Weights and the optimizer's state. They are copied to save a checkpoint.
    best_bytes : int
        Weights of the best epoch, which are held and saved as well.
    main_target, named_target : str
        The target that is scored, and the one that it is an alias of (or itself).
    batch_size, steps_per_epoch, epochs : int
    shuffling, reading : str
        How rows are shuffled and at what cost, and where they come from: a sentence each.
    first_step, epochs_done : int
        Steps and whole epochs (with their validation) that were done before; 0 for a new run.
    deterministic : bool
    in_closed_form : bool
        Whether the model is a ridge regression, made of sums without steps.
    already_finished : bool
        Whether the run is finished, and nothing is to be done.
    cost : TrainCost or None
        What the training costs, in the plan of a dry run.
    ridge_seconds : float or None
        In that plan, how long a ridge regression is fitted: the model itself, or its baseline.
    """

    n_train_eras: int
    n_train_rows: int
    n_validation_eras: int
    n_validation_rows: int
    n_embargo_eras: int
    train_range: str
    validation_range: str
    embargo: str | None = None
    transform: str | None = None
    monitored: str | None = None
    baseline: str | None = None
    n_features: int
    n_targets: int
    n_parameters: int
    model: str
    precision: str | None = None
    buffer_bytes: int
    state_bytes: int
    best_bytes: int
    main_target: str
    named_target: str
    batch_size: int
    steps_per_epoch: int
    epochs: int
    shuffling: str
    reading: str
    first_step: int
    epochs_done: int
    deterministic: bool
    in_closed_form: bool = False
    already_finished: bool = False
    cost: TrainCost | None = None
    ridge_seconds: float | None = None


def plan_text(plan: TrainPlan) -> str:
    """Return the plan of a training as lines of text."""
    equals = "" if plan.named_target == plan.main_target else f" (equals {plan.named_target})"
    embargo = "" if plan.embargo is None else f"embargo     {plan.embargo}\n"
    transform = "" if plan.transform is None else f"transform   {plan.transform}\n"
    precision = "" if plan.precision is None else f"precision   {plan.precision}\n"
    monitor = "" if plan.monitored is None else f"monitor     {plan.monitored}\n"
    baseline = "" if plan.baseline is None else f"baseline    {plan.baseline}\n"
    state = "weights, the optimizer's state and the best epoch's weights"
    if plan.in_closed_form:
        state = "sums and weights"
    more = f"{in_bytes(plan.state_bytes)} more "
    more += "to solve" if plan.in_closed_form else "while a checkpoint is saved"
    return (
        f"train       {counted(plan.n_train_rows, 'row')}, {counted(plan.n_train_eras, 'era')} "
        f"({plan.train_range}); {counted(plan.steps_per_epoch, 'step')} of "
        f"{counted(plan.batch_size, 'row')} in an epoch\n"
        f"validation  {counted(plan.n_validation_rows, 'row')}, "
        f"{counted(plan.n_validation_eras, 'era')} ({plan.validation_range}); "
        f"{counted(plan.n_embargo_eras, 'era')} between them left out\n"
        f"{embargo}{transform}{monitor}{baseline}"
        f"model       {plan.model}: {counted(plan.n_features, 'feature')}, {plan.n_parameters:,} "
        f"parameters; target: {plan.main_target}{equals}\n"
        f"{precision}"
        f"shuffling   {plan.shuffling}\n"
        f"reading     {plan.reading}\n"
        f"memory      {in_bytes(plan.buffer_bytes)} for buffers, "
        f"{in_bytes(plan.state_bytes + plan.best_bytes)} for {state}, {more}"
        + (f"\nresumed     after {counted(plan.first_step, 'step')}" if plan.first_step else "")
    )
