"""How good probabilities are: proper scores, which are best where a network says what it believes."""

from __future__ import annotations

from torch import Tensor

from docendo.metrics.inputs import with_labels


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """How little a network expected the labels: their negative log-likelihood, mean over the images.

    NLL = mean_n( -log p_n[y_n] ),   p = softmax(z_n)

    Args:
        logits: (N, K), any floating-point type; computed in float64.
        labels: (N,), int64, in [0, K).

    Returns:
        Nats, at least 0; log K where all classes are alike.

    Raises:
        DocendoError: if they do not fit each other, or a logit is not finite.

    >>> import torch
    >>> round(negative_log_likelihood(torch.zeros(2, 10), torch.tensor([3, 7])), 4)  # log 10
    2.3026
    """
    log_p, labels = with_labels("negative_log_likelihood", logits, labels)
    return -log_p.gather(1, labels[:, None]).mean().item()


def brier_score(logits: Tensor, labels: Tensor) -> float:
    """Squared distance of the probabilities from the labels, summed over classes, mean over the images.

    Brier = mean_n sum_c (p_nc - [c = y_n])^2,   p = softmax(z_n)

    Args:
        logits: (N, K), any floating-point type; computed in float64.
        labels: (N,), int64, in [0, K).

    Returns:
        In [0, 2]; 1 - 1/K where all classes are alike.

    Raises:
        DocendoError: if they do not fit each other, or a logit is not finite.

    Deviations: none from the paper; for two classes some give half of this.

    References:
        Brier: Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78, 1950.

    >>> import torch
    >>> round(brier_score(torch.tensor([[0.75, 0.25]]).log(), torch.tensor([0])), 4)  # 0.25^2 + 0.25^2
    0.125
    """
    log_p, labels = with_labels("brier_score", logits, labels)
    p = log_p.exp()
    right = p.gather(1, labels[:, None])
    return (p.square().sum(dim=1, keepdim=True) - right.square() + (1 - right).square()).mean().item()
