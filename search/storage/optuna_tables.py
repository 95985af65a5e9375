"""Optuna's tables, as Optuna itself defines them; only `search.storage.optuna_*` imports this.

`optuna.storages._rdb.models` is private: `checks.check_optuna_version` refuses a version of Optuna
whose tables were not tested.
"""

from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import Table


def _table(model: Any) -> Table:
    table: Table = model.__table__
    return table


optuna_studies = _table(models.StudyModel)
optuna_study_attributes = _table(models.StudyUserAttributeModel)
optuna_trials = _table(models.TrialModel)
optuna_params = _table(models.TrialParamModel)
optuna_values = _table(models.TrialValueModel)
optuna_intermediate_values = _table(models.TrialIntermediateValueModel)
optuna_user_attributes = _table(models.TrialUserAttributeModel)
optuna_system_attributes = _table(models.TrialSystemAttributeModel)
FINITE_VALUE = models.TrialValueModel.TrialValueType.FINITE
FINITE_REPORT = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE

value_of = models.TrialValueModel.stored_repr_to_value
report_of = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
"""A stored number and its kind as a float, which may be infinite or no number."""
