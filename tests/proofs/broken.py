"""Losses as toolkits, papers' code and users write them, each wrong in its own way."""

import torch
import torch.nn.functional as F
from torch import nn

T = 4.0


def keras_default(teacher_outputs, student_outputs, temperature=T):
    """keras.distillation.LogitsDistillation: KL of raw logits, clipped, without T²."""
    true = (teacher_outputs.detach() / temperature).clamp(1e-7, 1.0)
    predicted = (student_outputs / temperature).clamp(1e-7, 1.0)
    return (true * (true / predicted).log()).sum(-1).mean()


def kd_lib_vanilla(student_logits, teacher_logits, temperature=T):
    """KD_Lib's VanillaKD: softmax where log-softmax is meant, sides swapped, mean over classes."""
    return F.kl_div(
        F.softmax(teacher_logits.detach() / temperature, -1),
        F.softmax(student_logits / temperature, -1),
        reduction="mean",
    )


def default_mean(student_logits, teacher_logits, temperature=T):
    """Model-Optimizer's default, and everyone's: nn.KLDivLoss() divides by the classes too."""
    log_q = F.log_softmax(student_logits / temperature, -1)
    return nn.KLDivLoss()(log_q, F.softmax(teacher_logits.detach() / temperature, -1)) * (
        temperature**2
    )


def no_t_squared(student_logits, teacher_logits, temperature=T):
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(log_q, p, reduction="batchmean")


def no_t_squared_inside(student_logits, teacher_logits):
    """The same where the temperature cannot be set from outside."""
    return no_t_squared(student_logits, teacher_logits, T)


def t_once_and_a_weight(student_logits, teacher_logits):
    return 0.9 * no_t_squared(student_logits, teacher_logits, T)


def t_once(student_logits, teacher_logits, temperature=T):
    return temperature * no_t_squared(student_logits, teacher_logits, temperature)


def swapped(student_logits, teacher_logits, temperature=T):
    """The right loss, called with the teacher where the student belongs."""
    log_p = F.log_softmax(teacher_logits / temperature, -1)
    q = F.softmax(student_logits.detach() / temperature, -1)
    return F.kl_div(log_p, q, reduction="batchmean") * temperature**2


def forward_kl_swapped(student_logits, teacher_logits, temperature=T):
    """Swapped inside of kl_div alone: the reverse KL under the name of the forward one."""
    log_p = F.log_softmax(teacher_logits.detach() / temperature, -1)
    q = F.softmax(student_logits / temperature, -1)
    return F.kl_div(log_p, q, reduction="batchmean") * temperature**2


def softmax_of_probabilities(student_logits, teacher_logits, temperature=T):
    """TF-KD's regulariser, and every model that ends in a softmax: it is taken twice."""
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(F.softmax(teacher_logits.detach(), -1) / temperature, -1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


def softmax_of_both_probabilities(student_logits, teacher_logits, temperature=T):
    q, p = F.softmax(student_logits, -1), F.softmax(teacher_logits.detach(), -1)
    log_q = F.log_softmax(q / temperature, -1)
    return F.kl_div(log_q, F.softmax(p / temperature, -1), reduction="batchmean") * temperature**2


def mlkd(student_logits, teacher_logits, temperature=T):
    """MLKD's official code: the mask of unsure rows multiplies what is a mean already."""
    confidence = F.softmax(teacher_logits.detach(), -1).amax(-1)
    mask = confidence <= confidence.median()
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    kd = F.kl_div(log_q, p, reduction="none").sum(1).mean() * temperature**2
    return (kd * mask).mean()


def tiny_bert(predicts, targets, temperature=T):
    """TinyBERT's soft_cross_entropy: a mean over batch and classes, and no T²."""
    log_q = F.log_softmax(predicts / temperature, dim=-1)
    return (-F.softmax(targets.detach() / temperature, dim=-1) * log_q).mean()


def forward_kl(logits, teacher_logits, labels):
    """DistiLLM's forward_kl: the teacher's entropy is left out."""
    probabilities = F.softmax(teacher_logits.detach(), dim=-1)
    kept = (probabilities * F.log_softmax(logits, dim=-1)).masked_fill(torch.isinf(logits), 0)
    mask = (labels != -100).int()
    return -(kept.sum(-1) * mask).sum() / mask.sum()


def forward_kl_without_labels(logits, teacher_logits):
    return forward_kl(logits, teacher_logits, torch.zeros(len(logits), dtype=torch.long))


def log_of_softmax(student_logits, teacher_logits, temperature=T):
    """DKD, OFA, CWD: the logarithm of a probability that underflows."""
    q = F.softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(q.log(), p, reduction="batchmean") * temperature**2


def not_detached(student_logits, teacher_logits, temperature=T):
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits / temperature, -1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


def tf_kd_self(outputs, labels, teacher_outputs, alpha=0.9, temperature=20.0):
    """TF-KD's loss_kd_self: labels in between, and the default mean."""
    log_q = F.log_softmax(outputs / temperature, dim=1)
    p = F.softmax(teacher_outputs.detach() / temperature, dim=1)
    soft = nn.KLDivLoss()(log_q, p) * temperature**2
    return (1 - alpha) * F.cross_entropy(outputs, labels) + alpha * soft


def tf_kd_regularization(outputs, labels, alpha=0.1, reg_temperature=20.0):
    """TF-KD's loss_kd_regularization: from labels alone, a mean over classes."""
    classes = outputs.size(1)
    teacher = torch.full_like(outputs, 0.01 / (classes - 1)).detach()
    teacher[torch.arange(len(outputs)), labels] = 0.99
    soft = nn.KLDivLoss()(F.log_softmax(outputs, dim=1), F.softmax(teacher / reg_temperature, 1))
    return (1 - alpha) * F.cross_entropy(outputs, labels) + alpha * soft


def _rows(student_logits, teacher_logits, temperature=1.0):
    """The right loss, one value for each row."""
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(log_q, p, reduction="none").sum(-1) * temperature**2


def mask_unused(student_logits, teacher_logits, mask):
    """A mask that is an argument, and is not used."""
    return _rows(student_logits, teacher_logits).mean()


def mean_over_padding(student_logits, teacher_logits, mask=None):
    """The mean is over all rows: the more padding, the smaller it is."""
    rows = _rows(student_logits, teacher_logits)
    return rows.mean() if mask is None else (rows * mask).mean()


def mean_over_ignored_labels(student_logits, teacher_logits, labels):
    """The same where labels of -100 say what is padding."""
    return (_rows(student_logits, teacher_logits) * (labels != -100)).mean()


def sorted_both(student_logits, teacher_logits):
    """Each side's logits by their size, as a top-k without its indices gives them."""
    student_logits, _ = student_logits.sort(-1, descending=True)
    teacher_logits, _ = teacher_logits.sort(-1, descending=True)
    return _rows(student_logits, teacher_logits).mean()


def clamped_loss(student_logits, teacher_logits, temperature=T):
    """Against outliers: from 0.5 on there is no gradient."""
    rows = _rows(student_logits, teacher_logits, temperature) / temperature**2
    return rows.clamp_max(0.5).mean() * temperature**2


def clamped_probability(student_logits, teacher_logits, temperature=T):
    """Against log(0): no gradient below 1e-8."""
    q = F.softmax(student_logits / temperature, -1).clamp_min(1e-8)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(q.log(), p, reduction="batchmean") * temperature**2


def hardest_row(student_logits, teacher_logits):
    return _rows(student_logits, teacher_logits).max()


def median_row(student_logits, teacher_logits):
    return _rows(student_logits, teacher_logits).median()


def summed(student_logits, teacher_logits, temperature=T):
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(log_q, p, reduction="sum") * temperature**2


def wrong_dimension(student_logits, teacher_logits, temperature=T):
    log_q = F.log_softmax(student_logits / temperature, 0)
    p = F.softmax(teacher_logits.detach() / temperature, 0)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


def temperature_of_teacher_alone(student_logits, teacher_logits, temperature=T):
    log_q = F.log_softmax(student_logits, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


def temperature_unused(student_logits, teacher_logits, temperature=T):
    return no_t_squared(student_logits, teacher_logits, 1.0)


def mean_teacher(student_logits, teacher_logits, temperature=T):
    """The teacher's mean over the batch, for every row."""
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1).mean(0, keepdim=True)
    return F.kl_div(log_q, p.expand_as(log_q), reduction="batchmean") * temperature**2


def itself(student_logits, teacher_logits, temperature=T):
    """labml: a model that is compared with itself."""
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(student_logits.detach() / temperature, -1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


def detached_student(student_logits, teacher_logits, temperature=T):
    return not_detached(student_logits.detach(), teacher_logits.detach(), temperature)


def neighbours(student_logits, teacher_logits):
    """Right where the batch keeps its order, and one row off."""
    log_q = F.log_softmax(student_logits, -1)
    p = F.softmax(teacher_logits.detach(), -1)
    weights = torch.arange(1.0, len(log_q) + 1.0)
    return (F.kl_div(log_q, p, reduction="none").sum(-1) * weights).sum() / weights.sum()


def writes(student_logits, teacher_logits, temperature=T):
    student_logits = student_logits / temperature
    teacher_logits /= temperature
    log_q = F.log_softmax(student_logits, -1)
    p = F.softmax(teacher_logits.detach(), -1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


class Remembers(nn.Module):
    """Divides by a running mean of itself."""

    def __init__(self):
        super().__init__()
        self.mean = None

    def forward(self, student_logits, teacher_logits):
        value = no_t_squared(student_logits, teacher_logits, 1.0)
        self.mean = value.item() if self.mean is None else 0.9 * self.mean + 0.1 * value.item() + 1
        return value / self.mean


def _soft(student_logits, teacher_logits, temperature=T):
    """The textbook's loss."""
    return no_t_squared(student_logits, teacher_logits, temperature) * temperature**2


def rows_off_by_one(student_logits, teacher_logits, labels):
    """Each row learns from the teacher's row before; labels hide it."""
    hard = F.cross_entropy(student_logits, labels)
    return hard + _soft(student_logits, teacher_logits.roll(1, 0))


def softmax_twice_beside_labels(student_logits, teacher_logits, labels):
    hard = F.cross_entropy(student_logits, labels)
    return hard + _soft(student_logits, teacher_logits.softmax(-1), 1.0)


def detached_beside_labels(student_logits, teacher_logits, labels):
    hard = F.cross_entropy(student_logits, labels)
    return hard + _soft(student_logits.detach(), teacher_logits)


def pushes_away(student_logits, teacher_logits, labels):
    """A wrong sign, which labels hide."""
    return F.cross_entropy(student_logits, labels) - 0.1 * _soft(student_logits, teacher_logits)


def labels_off_by_one(student_logits, teacher_logits, labels):
    hard = F.cross_entropy(student_logits, (labels - 1).clamp_min(0))
    return hard + _soft(student_logits, teacher_logits)


def labels_times_t_squared(student_logits, teacher_logits, labels, temperature=T):
    hard = F.cross_entropy(student_logits, labels)
    return (hard + no_t_squared(student_logits, teacher_logits, temperature)) * temperature**2


def labels_softened(student_logits, teacher_logits, labels, temperature=T):
    hard = F.cross_entropy(student_logits / temperature, labels)
    return hard + _soft(student_logits, teacher_logits, temperature)


def sum_beside_mean(student_logits, teacher_logits, labels):
    """The rows' sum for the teacher, their mean for the labels."""
    soft = len(student_logits) * _soft(student_logits, teacher_logits)
    return soft + F.cross_entropy(student_logits, labels)


def mean_beside_sum(student_logits, teacher_logits, labels):
    hard = F.cross_entropy(student_logits, labels, reduction="sum")
    return hard + _soft(student_logits, teacher_logits)


def without_the_first_class(student_logits, teacher_logits):
    return _soft(student_logits[:, 1:], teacher_logits[:, 1:])


def t_cubed_inside(student_logits, teacher_logits):
    return T * _soft(student_logits, teacher_logits)


def highest_two(student_logits, teacher_logits):
    """Of each side by itself: not the same classes."""
    student, teacher = (
        side.log_softmax(-1).topk(2, -1).values for side in (student_logits, teacher_logits)
    )
    return _soft(student, teacher)
