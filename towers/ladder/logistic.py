"""Logistic regression by scikit-learn, kept as the one linear map that it is."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from towers.errors import TrainingError
from towers.ladder.extra import of_extra
from towers.settings import bounded


@dataclass(frozen=True, slots=True)
class LogisticSettings:
    """inverse_penalty: C of the ridge penalty on standardised inputs; less is a stronger one."""

    inverse_penalty: float = bounded(1.0, gt=0.0)
    max_iterations: int = bounded(1_000, ge=1)


@dataclass(frozen=True, slots=True)
class LogOdds:
    """Log-odds of an answer, given F inputs: <weight, inputs> + bias.

    missing: float64 (F,), what stands for an input that is NaN.
    """

    weight: Float64[np.ndarray, " F"]
    bias: float
    missing: Float64[np.ndarray, " F"]

    def of(self, inputs: Float[np.ndarray, "C F"]) -> Float64[np.ndarray, " C"]:
        """The log-odds of each line."""
        score: np.ndarray = np.where(np.isnan(inputs), self.missing, inputs) @ self.weight + self.bias
        return score


def fit_logistic(
    inputs: Float[np.ndarray, "C F"], answers: Bool[np.ndarray, " C"], settings: LogisticSettings, rung: str
) -> LogOdds:
    """LogOdds by ridge-penalised maximum likelihood, deterministic.

    Unknown inputs take their mean, and all are standardised before they are penalised. Raises
    MissingExtraError without scikit-learn, TrainingError where all answers are the same or the optimiser
    does not converge.
    """
    if answers.all() or not answers.any():
        raise TrainingError(
            f"{rung}: {int(answers.sum())} of {len(answers)} examples are answers; expected some, not all"
        )
    impute, preprocessing, linear_model, pipeline, exceptions = (
        of_extra(f"sklearn.{name}", rung)
        for name in ("impute", "preprocessing", "linear_model", "pipeline", "exceptions")
    )
    mean, scale = impute.SimpleImputer(keep_empty_features=True), preprocessing.StandardScaler()
    regression = linear_model.LogisticRegression(C=settings.inverse_penalty, max_iter=settings.max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("error", exceptions.ConvergenceWarning)
        try:
            pipeline.make_pipeline(mean, scale, regression).fit(inputs.astype(np.float64), answers)
        except exceptions.ConvergenceWarning as warning:
            raise TrainingError(
                f"{rung}: no convergence in {settings.max_iterations} iterations; expected more of them or a "
                "stronger penalty"
            ) from warning
    weight = regression.coef_[0] / scale.scale_
    return LogOdds(weight, float(regression.intercept_[0] - scale.mean_ @ weight), mean.statistics_)
