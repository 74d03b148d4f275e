"""Logistic regression, of each candidate or within each question, kept as the one linear map that it is."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

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
    """Log-odds of an answer, given F inputs: <weight, inputs> + bias; within a question up to a constant.

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
            raise _no_convergence(settings, rung) from warning
    weight = regression.coef_[0] / scale.scale_
    return LogOdds(weight, float(regression.intercept_[0] - scale.mean_ @ weight), mean.statistics_)


def fit_conditional(
    inputs: Float[np.ndarray, "C F"],
    answers: Bool[np.ndarray, " C"],
    num_of_question: Int64[np.ndarray, " Q"],
    settings: LogisticSettings,
    rung: str,
) -> LogOdds:
    """LogOdds by the conditional logit: each answer is a choice among all candidates of its question.

    minimise ‖w‖²/2 − C Σ_answers log( exp(s_i) / Σ_{j of i's question} exp(s_j) ),  s = <w, inputs>

    over inputs standardised as in `fit_logistic`; the bias is 0, as a constant changes no choice, and so is
    the weight of what is the same for all candidates of a question. Source: McFadden 1974, Conditional logit
    analysis of qualitative choice behavior, in Frontiers in Econometrics. Raises MissingExtraError without
    scipy, TrainingError where there is no answer or the optimiser does not converge.
    """
    if not answers.any():
        raise TrainingError(f"{rung}: none of {len(answers)} examples is an answer; expected some")
    optimize = of_extra("scipy.optimize", rung)
    known = ~np.isnan(inputs)
    missing = np.where(known, inputs, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, inputs, missing) - missing
    scale = filled.std(axis=0)
    scale[scale == 0.0] = 1.0
    filled /= scale
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_of_question)[:-1]])
    num_answers = np.add.reduceat(answers.astype(np.float64), first)

    def loss(weight: np.ndarray) -> tuple[float, np.ndarray]:
        score = filled @ weight
        score -= np.repeat(np.maximum.reduceat(score, first), num_of_question)
        total = np.add.reduceat(np.exp(score), first)
        expected = np.exp(score) * np.repeat(num_answers / total, num_of_question)
        surprise = num_answers @ np.log(total) - score[answers].sum()
        slope = filled.T @ (expected - answers)
        penalty = settings.inverse_penalty
        return 0.5 * weight @ weight + penalty * surprise, weight + penalty * slope

    options = {"maxiter": settings.max_iterations, "maxfun": 2 * settings.max_iterations}
    found = optimize.minimize(loss, np.zeros(inputs.shape[1]), method="L-BFGS-B", jac=True, options=options)
    if not found.success:
        raise _no_convergence(settings, rung)
    return LogOdds(found.x / scale, 0.0, missing)


def _no_convergence(settings: LogisticSettings, rung: str) -> TrainingError:
    return TrainingError(
        f"{rung}: no convergence in {settings.max_iterations} iterations; expected more of them or a "
        "stronger penalty"
    )
