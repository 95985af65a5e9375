"""Optuna's tables, as far as they are read or written here; a test breaks when they change.

Only the modules `search.storage.optuna_*` import this one.
"""

from optuna.trial import TrialState
from sqlalchemy import (
    DateTime,
    Enum,
    Float,
    Integer,
    String,
    Text,
    column,
    table,
)

optuna_studies = table("studies", column("study_id", Integer), column("study_name", String))

optuna_study_attributes = table(
    "study_user_attributes",
    column("study_id", Integer),
    column("key", String),
    column("value_json", String),
)

optuna_trials = table(
    "trials",
    column("trial_id", Integer),
    column("number", Integer),
    column("study_id", Integer),
    column("state", Enum(TrialState)),
    column("datetime_start", DateTime),
    column("datetime_complete", DateTime),
)

optuna_params = table(
    "trial_params",
    column("param_id", Integer),
    column("trial_id", Integer),
    column("param_name", String),
    column("param_value", Float),
    column("distribution_json", Text),
)

optuna_values = table(
    "trial_values",
    column("trial_id", Integer),
    column("objective", Integer),
    column("value", Float),
    column("value_type", Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype")),
)

optuna_intermediate_values = table(
    "trial_intermediate_values",
    column("trial_id", Integer),
    column("step", Integer),
    column("intermediate_value", Float),
    column(
        "intermediate_value_type",
        Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
    ),
)

optuna_user_attributes = table(
    "trial_user_attributes",
    column("trial_id", Integer),
    column("key", String),
    column("value_json", Text),
)

optuna_system_attributes = table(
    "trial_system_attributes",
    column("trial_id", Integer),
    column("key", String),
    column("value_json", Text),
)
